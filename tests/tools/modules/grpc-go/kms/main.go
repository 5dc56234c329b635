// SPDX-License-Identifier: Apache-2.0

// kms-go is a KMS v2 plugin as one writes it with grpc-go and the API's generated code: what bench/grpc.py puts
// leasehold-kms beside. Its key is in a file, or in a Transit engine.
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	api "k8s.io/kms/apis/v2"
)

const annotation = "format.kms-go.leasehold.dev"

// backend wraps and unwraps a seed; aad must be the same both times.
type backend interface {
	encrypt(ctx context.Context, plain, aad []byte) ([]byte, error)
	decrypt(ctx context.Context, sealed, aad []byte) ([]byte, error)
	identity() string
}

// localKey is a file as leasehold-kms --local-key takes it: NAME BASE64.
type localKey struct {
	aead cipher.AEAD
	name string
}

func newLocalKey(path string) (*localKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(text))
	if len(words) != 2 {
		return nil, errors.New("want one line: NAME BASE64")
	}
	key, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &localKey{aead, words[0]}, err
}

func (k *localKey) identity() string { return k.name }

func (k *localKey) encrypt(_ context.Context, plain, aad []byte) ([]byte, error) {
	nonce := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return k.aead.Seal(nonce, nonce, plain, aad), nil
}

func (k *localKey) decrypt(_ context.Context, sealed, aad []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("too short")
	}
	return k.aead.Open(nil, sealed[:n], sealed[n:], aad)
}

type plugin struct {
	api.UnimplementedKeyManagementServiceServer
	backend backend
	keyID   string
}

func (p *plugin) Status(context.Context, *api.StatusRequest) (*api.StatusResponse, error) {
	return &api.StatusResponse{Version: "v2", Healthz: "ok", KeyId: p.keyID}, nil
}

func (p *plugin) Encrypt(ctx context.Context, r *api.EncryptRequest) (*api.EncryptResponse, error) {
	sealed, err := p.backend.encrypt(ctx, r.Plaintext, []byte(p.keyID))
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &api.EncryptResponse{Ciphertext: sealed, KeyId: p.keyID, Annotations: map[string][]byte{annotation: []byte("1")}}, nil
}

func (p *plugin) Decrypt(ctx context.Context, r *api.DecryptRequest) (*api.DecryptResponse, error) {
	if r.KeyId != p.keyID || string(r.Annotations[annotation]) != "1" {
		return nil, status.Error(codes.FailedPrecondition, "of another plugin or key")
	}
	plain, err := p.backend.decrypt(ctx, r.Ciphertext, []byte(p.keyID))
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &api.DecryptResponse{Plaintext: plain}, nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kms-go:", err)
		os.Exit(1)
	}
}

func main() {
	socket := flag.String("listen", "", "path of the UNIX socket")
	local := flag.String("local-key", "", "file: NAME BASE64")
	var t transit
	flag.StringVar(&t.address, "address", "", "URL of the manager, instead of a local key")
	flag.StringVar(&t.mount, "transit-mount", "transit", "where its Transit engine is")
	flag.StringVar(&t.key, "key", "", "name of the key")
	ca := flag.String("ca-file", "", "CA of the manager")
	role := flag.String("role-id", "", "of AppRole")
	secret := flag.String("secret-id-file", "", "of AppRole")
	flag.Parse()
	var b backend
	var err error
	if *local != "" {
		b, err = newLocalKey(*local)
	} else {
		b, err = &t, t.open(*ca, *role, *secret)
	}
	check(err)
	digest := sha256.Sum256([]byte(b.identity()))
	listener, err := net.Listen("unix", *socket)
	check(err)
	server := grpc.NewServer()
	api.RegisterKeyManagementServiceServer(server, &plugin{backend: b, keyID: hex.EncodeToString(digest[:])})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() { <-ended; server.GracefulStop() }()
	check(server.Serve(listener))
}
