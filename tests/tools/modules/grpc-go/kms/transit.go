// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// transit is a key of the Transit engine, at the version that was the latest when we started.
type transit struct {
	address, mount, key, token string
	version                    int
	client                     *http.Client
}

func (t *transit) identity() string {
	return fmt.Sprintf("%s/%s/%s/%d", t.address, t.mount, t.key, t.version)
}

// open logs in and reads the key.
func (t *transit) open(ca, role, secretFile string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	t.client = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}, MaxIdleConnsPerHost: 64}}
	var login struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	body := map[string]any{"role_id": role, "secret_id": strings.TrimSpace(string(secret))}
	if err := t.ask(context.Background(), "POST", "auth/approle/login", body, &login); err != nil {
		return err
	}
	t.token = login.Auth.Token
	var key struct {
		Data struct {
			Latest int `json:"latest_version"`
		} `json:"data"`
	}
	if err := t.ask(context.Background(), "GET", t.mount+"/keys/"+t.key, nil, &key); err != nil {
		return err
	}
	t.version = key.Data.Latest
	return nil
}

func (t *transit) ask(ctx context.Context, method, path string, body, out any) error {
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, t.address+"/v1/"+path, text)
	if err != nil {
		return err
	}
	if t.token != "" {
		request.Header.Set("X-Vault-Token", t.token)
	}
	answer, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

func (t *transit) encrypt(ctx context.Context, plain, aad []byte) ([]byte, error) {
	var out struct {
		Data struct {
			Ciphertext string `json:"ciphertext"`
		} `json:"data"`
	}
	body := map[string]any{"plaintext": plain, "associated_data": aad, "key_version": t.version}
	err := t.ask(ctx, "POST", t.mount+"/encrypt/"+t.key, body, &out)
	return []byte(out.Data.Ciphertext), err
}

func (t *transit) decrypt(ctx context.Context, sealed, aad []byte) ([]byte, error) {
	var out struct {
		Data struct {
			Plaintext []byte `json:"plaintext"`
		} `json:"data"`
	}
	body := map[string]any{"ciphertext": string(sealed), "associated_data": aad}
	err := t.ask(ctx, "POST", t.mount+"/decrypt/"+t.key, body, &out)
	return out.Data.Plaintext, err
}
