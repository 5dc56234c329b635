/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define LH_REASON_DEFINE(word) const char LH_REASON_##word[] = #word;
LH_REASONS(LH_REASON_DEFINE)

#define R(word, meaning, action)                                                                   \
    {                                                                                              \
#word, meaning, action                                                                     \
    }

/* Sorted by word in bytes: docs print it so, and look-up is a binary search. */
static const struct lh_reason reasons[] = {
    R(AddressNotAllowed,
      "A store names an address that is loopback, link-local or a cloud's metadata service. A Pod "
      "could be made to send its token there, so these are refused unless the platform lists them.",
      "Use the manager's routable address in spec.vault.addresses. If it really listens there, a "
      "platform administrator adds the network to policy.addresses of the chart."),
    R(AnnotationInvalid,
      "The value of a leasehold.dev/ annotation is not what that annotation takes, or it does not "
      "fit to another one or to the Pod.",
      "Change the annotation as the message says; it belongs on the Pod, or on the Pod template of "
      "a workload. `leasehold lint FILE` shows the same answer without a cluster."),
    R(AnnotationUnknown,
      "The Pod carries a leasehold.dev/ annotation that this version does not know. It is refused "
      "because a misspelled one would otherwise be ignored in silence.",
      "Correct the name; the message gives the nearest known one. While a newer chart is rolled "
      "out, policy.unknownAnnotations: Warn lets unknown names pass with a warning."),
    R(AudienceInvalid,
      "The token audience of a store is empty or the API server's own. Whoever receives such a "
      "token could use it against the cluster.",
      "Give spec.vault.auth.*.audience a name of its own, such as \"vault\", and set the same as "
      "bound_audiences (jwt) or audience (kubernetes) of the manager's role."),
    R(AudienceNotServed,
      "The store wants a token for an audience that kubelet does not hand to the node component.",
      "Add the audience to the chart value node.audiences, or use one that is listed there. "
      "Running "
      "Pods keep their files meanwhile."),
    R(Available,
      "The store's manager answers, and is initialised and not sealed. Whether it takes a login is "
      "for each ServiceAccount to find.",
      "Nothing is to be done."),
    R(CertificateInvalid,
      "The manager's TLS certificate was not accepted: unknown CA, wrong name, or out of date. "
      "Nothing was sent to it.",
      "Compare spec.vault.caBundle (or the ConfigMap of caBundleRef) with the CA that signed the "
      "manager's certificate, and spec.vault.tlsServerName with its names. The agent notices a "
      "changed ConfigMap by itself."),
    R(ConfigInvalid,
      "A configuration document (the agent's, or the platform's policy) has an unknown field, a "
      "wrong type or a wrong value.",
      "Correct the field that the message names. If the webhook wrote it, webhook and agent image "
      "do not fit: use the agent image of the same chart, and report it."),
    R(ConfigTooLarge,
      "What the agent of this Pod has to know does not fit into 96 KiB, the most that one "
      "environment variable can safely carry.",
      "Shorten the item that the message names: split a long template, move a big caBundle into a "
      "ConfigMap (caBundleRef), or spread secrets over several Pods."),
    R(ConfigTooNew,
      "The agent's configuration was written by a webhook that is newer than this agent "
      "understands.",
      "Use an agent image of the webhook's version (annotation image, or agent.image of the "
      "chart). An agent reads the configuration of its own and of the previous version."),
    R(CredentialMissing,
      "The credential for the login is not there: the projected token, or the Secret that the "
      "store refers to, or a key in it.",
      "Create the Secret (in the store's namespace) or the key that the message names. For a token "
      "file, check that the volume leasehold-token of the Pod was not changed."),
    R(DeletionsHeld,
      "More objects vanished at once than usually do, so the cluster controller deletes nothing "
      "that stood for them: no Secret copy, no credential.",
      "Find out why they vanished (a deleted CRD, a GitOps prune, an emptied namespace). If they "
      "are wanted, apply them again, and the hold ends by itself. If all is as intended, confirm "
      "the number that the message gives with the annotation leasehold.dev/confirm-deletions on "
      "the controller's Lease."),
    R(Drained,
      "leasehold drain was asked for: the cluster controller has revoked what it issued for this "
      "projection, let its Secret copy go, and takes on nothing new, after a restart too.",
      "Nothing, before an uninstallation. Else take the drain back: kubectl leasehold drain "
      "--undo."),
    R(FileConflict,
      "Two items would write the same file, or one wants a file where another wants a folder, or a "
      "key of the secret is no file name.",
      "Give one of them another place with file.NAME, or name single keys with path#key."),
    R(Fresh, "All secrets are published and up to date.", "Nothing is to be done."),
    R(HealthUnknown,
      "The health of the store cannot be asked from here: it trusts a CA that is in a ConfigMap of "
      "each Pod's own namespace (caBundleRef).",
      "Nothing has to be done; Pods are not held back by it. Put the CA into spec.vault.caBundle "
      "if the condition is to say more."),
    R(ImageNotAllowed, "The image annotation names an agent image that the platform does not list.",
      "Leave the annotation out to get the platform's agent, or ask for the image, by digest, in "
      "policy.images of the chart."),
    R(InternalError, "Leasehold failed in a way that is its own fault, or memory was out.",
      "Look at the component's log lines of level error around that time and report them. "
      "The last good secrets stay in place, and the operation is tried again."),
    R(KVVersionMismatch,
      "The path looks like KV version 2 and the mount is version 1, or the other way round, as "
      "the server says.",
      "Correct kv2Mounts of the store (it is used for comparing paths with allow only), and write "
      "the path without data/. The server's own answer decides the request."),
    R(KeyNotFound, "The secret was read, and the key after # (or in the template) is not in it.",
      "Compare the key with those that the message lists. Other files of the Pod wait for it at "
      "the first start, since everything is published together."),
    R(LeaseExpired,
      "A lease ended before it could be renewed or replaced: the published credential is no longer "
      "valid.",
      "A new one is asked for as soon as the manager answers. If it stays, look for why the "
      "manager was away or refused: the reason of the last failure is in the agent's /status."),
    R(LedgerFull,
      "The cluster controller's ledger, a Secret that names every login which is still to be "
      "revoked, is at its limit. Nothing new is issued, so that nothing is made that could not be "
      "undone; what is published stays and is renewed.",
      "Let the manager's policy allow auth/token/revoke-accessor (docs/vault-setup.md), so that "
      "old records can be worked off; mount projections by CSI instead of copying them, since "
      "mounts need no ledger; or share a ServiceAccount among copies of plain KV secrets."),
    R(LedgerUnavailable,
      "The cluster controller cannot read or write its ledger, the Secret that names every login "
      "which is still to be revoked. It makes no new login meanwhile; what is published stays and "
      "is renewed.",
      "The log line has the API server's answer. The Secret is named after the release and comes "
      "with the chart, as does the Role to patch it: if either was deleted, run helm upgrade."),
    R(LoginFailed, "The manager refused the login of this ServiceAccount.",
      "Compare the role's bound ServiceAccount, namespace and audience at the manager with the "
      "message, and that the mount trusts this cluster's token issuer. `kubectl leasehold check` "
      "does the steps one by one, `kubectl leasehold policy` prints the role that is needed."),
    R(ManagerError,
      "The secret manager answered with an error of its own, or with something that is no answer "
      "of a Vault or OpenBao server (a proxy's page, a cut or oversized body).",
      "Look at the manager's log at that time. If a proxy stands between, check that it forwards "
      "to the manager. It is tried again with backoff; the last good secrets stay."),
    R(MountFailed, "The volume could not be mounted on the node, or unmounted from it.",
      "The message says what failed. Look at the logs of the container leasehold-mount on that "
      "node; kubelet tries again by itself."),
    R(NameReserved, "The Pod uses a name that Leasehold needs for its own container or volumes.",
      "Rename what the message names. Names beginning with leasehold- are left to Leasehold."),
    R(NamespaceNotServed,
      "A SecretProjection asks for a Kubernetes Secret or for restarts in a namespace where the "
      "platform has not switched them on.",
      "A platform administrator adds the namespace to cluster.namespaces of the chart. Volumes and "
      "injected Pods need no copy and work without it."),
    R(NodeMemoryFull,
      "The volumes of this node, or of this namespace on it, would need more memory together than "
      "the platform gives them.",
      "Mount fewer SecretProjections on one node, or raise node.maxMemory or "
      "node.maxNamespaceMemory in the chart together with the memory limit of the DaemonSet."),
    R(NotInjected,
      "The Pod asks for secrets by annotation and runs without them: no webhook saw it when it was "
      "created.",
      "Check that leasehold-webhook runs, that the namespace is not excluded and that "
      "webhook.failurePolicy is Fail; then delete the Pod, so that its owner creates it again. A "
      "Pod that is meant to run without secrets takes the annotation inject: \"false\"."),
    R(NotifyFailed, "The new secrets are in place, but telling the application (on-change) failed.",
      "Check the process name and uid (signal), the program (exec) or the URL and its answer "
      "(HTTP) in the agent's log. It is told again at the next change, and retried before."),
    R(PathInvalid,
      "The path of a secret is malformed: empty segments, . or .., characters that would change "
      "the request (% ? #), control characters, or a slash at an end.",
      "Write the path as the manager's own command line takes it, without v1/ and without a "
      "leading slash: secret/shop/db or database/creds/shop."),
    R(PathNotAllowed,
      "The store exists and may be used, but its allow list does not let this namespace read the "
      "path. The manager was not asked.",
      "Use one of the paths that the message lists, or have the store's owner add one to "
      "spec.allow[].paths. The manager's own policy has to allow it as well."),
    R(PathNotFound,
      "The manager knows no secret at this path: no such mount, role or key, or it has no data.",
      "Check the spelling and that the secret exists. For KV, compare with the manager's list of "
      "mounts. The Pod goes on by itself within seconds once it is there."),
    R(PermissionDenied,
      "The login succeeded, and the manager's policy does not let this identity read the path.",
      "Give the role's policy read (or update, where params are used) on the path; `kubectl "
      "leasehold policy` prints the least one. It is tried again, within five minutes at most; "
      "while a Pod waits for its first secrets, within five seconds."),
    R(PodUnsupported,
      "The Pod is of a kind that an agent cannot serve: Windows, or settings that contradict what "
      "the annotations ask for.",
      "Change the field that the message names, or leave the annotations away."),
    R(ProjectionNotFound,
      "A volume names a SecretProjection that is not there in the namespace of its Pod, or is not "
      "valid.",
      "Create it, or correct volumeAttributes.projection: it is a plain name in the namespace of "
      "the Pod. The Pod starts by itself then."),
    R(ProjectionsNotServed,
      "The projections annotation asks for SecretProjection volumes, which this installation does "
      "not serve.",
      "Use secret.NAME annotations, which give the same files."),
    R(PublishFailed,
      "The files could not be put in place: the memory volume is full, or its folder cannot be "
      "written.",
      "Raise the size annotation if the secrets outgrew it (two generations live during a swap). "
      "The last good files are still there, whole."),
    R(RateLimited, "The manager's quota refused requests (429).",
      "Raise the quota, or lower the load: longer refresh, or spec.limits of the store. Requests "
      "wait as long as the manager says; the last good secrets stay."),
    R(RequestInvalid,
      "A request or document is not what it has to be: an AdmissionReview that is no v1, or not "
      "well-formed JSON; or a request that the manager calls malformed.",
      "For admission: only the API server should call the webhook; check what else does. For a "
      "secret: check params.NAME against the manager's documentation of that path."),
    R(ResourceNotAllowed,
      "The cpu, memory or size annotation asks for more than the platform lets a Pod choose.",
      "Ask for less, as the message says, or have policy.maxCPU, maxMemory or maxSize raised."),
    R(RestartOnLease,
      "The projection restarts workloads on change and holds credentials with a lease. Those are "
      "replaced all the time and do not count; only values without a lease restart a workload.",
      "Let the application read its files again (the folder ..data changes all at once, or "
      "on-change with an agent), or take the leased item into a projection of its own without "
      "onChange.restart."),
    R(RestartPending,
      "A workload runs with older secrets and is to be restarted, but not now: its rollout is "
      "paused or under way, a PodDisruptionBudget allows no disruption, the namespace had enough "
      "restarts for the moment, or an admission webhook or policy refuses the change.",
      "The message names the workload and what is waited for. A paused rollout has to be resumed, "
      "a disruption budget that allows nothing has to be changed, whoever keeps the webhook or "
      "policy asked, or the workload restarted by hand; all else passes by itself."),
    R(RevocationGivenUp,
      "A login that an earlier leader of the cluster controller left behind could not be revoked: "
      "the manager's policy does not allow it, the store or the ServiceAccount is gone, or the "
      "manager could not be asked for an hour. Nothing waits for it any more. It ends by itself, "
      "since nobody renews it.",
      "Let the policy of the role allow update on auth/token/revoke-accessor; the ledger tries "
      "once an hour. To end it at once, take its accessor from the log line and run "
      "`bao token revoke -accessor ACCESSOR`."),
    R(RightsMissing,
      "The cluster controller has no right in the namespace to do what the projection asks for.",
      "Add the namespace to cluster.namespaces of the chart, which binds the ClusterRole of copies "
      "and restarts there; the message says which right was refused."),
    R(RoleNotAllowed,
      "The role annotation names a role that the store does not let this namespace choose.",
      "Leave the annotation out to use the store's own role, or have the store's owner add a "
      "pattern to spec.allow[].roles."),
    R(Sealed, "The secret manager is sealed: it runs, but cannot read its own storage.",
      "Unseal it. Waiting Pods and refreshes notice within about a second and go on by "
      "themselves, spread out so that the manager is not overrun."),
    R(SecretDeleted,
      "The newest version of the KV secret is deleted or destroyed at the manager. The last good "
      "files stay.",
      "Write a new version, undelete it, or remove the annotation if it is no longer needed."),
    R(SecretNotOurs,
      "A Secret of the name in kubernetesSecret is there already and was not made for this "
      "SecretProjection. It is left as it is.",
      "Choose another name, remove that Secret, or set kubernetesSecret.adopt: true to take it "
      "over with all of its keys that have the same names."),
    R(SecretStale,
      "Nobody has confirmed a published value for longer than staleness.maxAge allows.",
      "Look for what keeps the manager from answering: the message of the failing refresh is in "
      "the logs and in /status. Files are refreshed by themselves once it answers."),
    R(Starting, "The first fetch is under way; nothing is published yet.",
      "Wait. If it stays for long, the message says what it waits for."),
    R(StoreAmbiguous,
      "More than one store admits the namespace and the Pod names none, or a store of the given "
      "name exists in both kinds.",
      "Name one with the annotation store, or for the whole namespace with the label "
      "leasehold.dev/default-store. The message lists the candidates."),
    R(StoreInvalid,
      "A SecretStore or ClusterSecretStore has an unknown field, a wrong type or a wrong value.",
      "Correct the field that the message names in the store. Pods that run already keep their "
      "secrets."),
    R(StoreNotAllowed, "The store exists, and its allow list does not admit the namespace.",
      "Name a store that admits the namespace, or have the owner of the ClusterSecretStore add the "
      "namespace (or its labels) to spec.allow. A SecretStore serves its own namespace only."),
    R(StoreNotFound, "No store of this name exists, or none admits the namespace.",
      "Create the store, or correct the annotation store; `kubectl get lhstore,lhcstore` shows "
      "what "
      "is there. The message lists the stores that the namespace may use."),
    R(TemplateInvalid,
      "A template does not parse, or uses something that is not offered. Templates hold text, "
      "{{ .key }} and {{ .key | urlquery }}.",
      "Correct it at the line and column that the message gives."),
    R(TokenExpired, "The manager's token of this process is dead: it ended or was revoked.",
      "A new login follows at once, by itself. If it repeats, somebody revokes the tokens, or the "
      "role's token_max_ttl is very short."),
    R(TooLarge,
      "Something is past a limit: a secret file (1 MiB), a template (64 KiB) or its output, the "
      "manager's answer (4 MiB), or an admission request.",
      "Make it smaller, or split it over several secrets. Nothing of it is published by half; the "
      "last good files stay."),
    R(Unreachable,
      "The secret manager could not be reached: name not resolved, connection refused, or no "
      "answer in time.",
      "Check the address, DNS, network policies and the manager itself. Recovery is by itself, "
      "within about a second of the first answer; the last good secrets stay."),
    R(VolumeInvalid,
      "A CSI volume of csi.leasehold.dev is not written as it must be: it is read-only, inline in "
      "the Pod, and has one attribute, projection.",
      "Correct the volume as the message says: `csi: {driver: csi.leasehold.dev, readOnly: true, "
      "volumeAttributes: {projection: NAME}}`."),
    R(WorkloadNotFound,
      "onChange.restart names a workload that does not exist in the projection's namespace.",
      "Create it or correct kind and name; it is looked for again by itself."),
    {NULL, NULL, NULL},
};

const struct lh_reason *lh_reason_find(const char *word)
{
    size_t lo = 0, hi = LH_ARRAY_LEN(reasons) - 1;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(word, reasons[mid].word);

        if (c == 0)
            return &reasons[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const struct lh_reason *lh_reason_list(void)
{
    return reasons;
}
