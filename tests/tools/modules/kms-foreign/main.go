// SPDX-License-Identifier: Apache-2.0

// kms-foreign is a KMS v2 plugin of nobody's but Kubernetes' own making: its service package on grpc-go, as the plugins
// out there have it, over keys in memory and a file. What the conformance kit holds against it, it holds against all.
//
//	kms-foreign SOCKET STATE     SIGHUP makes a new key; STATE keeps the keys over a restart
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kms/pkg/service"
)

const annotation = "format.kms-foreign.example"

type plugin struct {
	mu    sync.RWMutex
	state string
	keys  [][]byte // the last one encrypts
}

func keyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:16])
}

func (p *plugin) rotate() error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, key)
	text, err := json.Marshal(p.keys)
	if err != nil {
		return err
	}
	return os.WriteFile(p.state, text, 0o600)
}

func (p *plugin) load() error {
	text, err := os.ReadFile(p.state)
	if errors.Is(err, os.ErrNotExist) {
		return p.rotate()
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &p.keys)
}

func seal(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (p *plugin) current() []byte {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.keys[len(p.keys)-1]
}

func (p *plugin) find(id string) []byte {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, key := range p.keys {
		if keyID(key) == id {
			return key
		}
	}
	return nil
}

func (p *plugin) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID(p.current())}, nil
}

func (p *plugin) Encrypt(_ context.Context, _ string, plain []byte) (*service.EncryptResponse, error) {
	key := p.current()
	aead, err := seal(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &service.EncryptResponse{
		Ciphertext:  aead.Seal(nonce, nonce, plain, []byte(keyID(key))),
		KeyID:       keyID(key),
		Annotations: map[string][]byte{annotation: []byte("1")},
	}, nil
}

func (p *plugin) Decrypt(_ context.Context, _ string, r *service.DecryptRequest) ([]byte, error) {
	key := p.find(r.KeyID)
	if key == nil {
		return nil, status.Error(codes.FailedPrecondition, "unknown key_id")
	}
	if len(r.Annotations) != 1 || string(r.Annotations[annotation]) != "1" {
		return nil, status.Error(codes.InvalidArgument, "foreign annotations")
	}
	aead, err := seal(key)
	if err != nil {
		return nil, err
	}
	if len(r.Ciphertext) < aead.NonceSize() {
		return nil, status.Error(codes.InvalidArgument, "too short")
	}
	nonce, sealed := r.Ciphertext[:aead.NonceSize()], r.Ciphertext[aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, sealed, []byte(r.KeyID))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "not sealed by this plugin")
	}
	return plain, nil
}

func run(socket, state string) error {
	p := &plugin{state: state}
	if err := p.load(); err != nil {
		return err
	}
	syscall.Umask(0o177)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	server := service.NewGRPCService(socket, 3*time.Second, p)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				server.Shutdown()
				return
			}
			if err := p.rotate(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	return server.ListenAndServe()
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kms-foreign SOCKET STATE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
