// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// measure runs one(n) again and again in each worker, n counted over all of them; it returns "" or what was wrong. Prints
// latencies in microseconds.
func measure(seconds float64, workers int, one func(n int) string) {
	type result struct {
		took []float64
		bad  map[string]int
	}
	results := make([]result, workers)
	var wg sync.WaitGroup
	var next atomic.Int64
	began := time.Now()
	until := began.Add(time.Duration(seconds * float64(time.Second)))
	for w := range results {
		wg.Add(1)
		go func(r *result) {
			defer wg.Done()
			r.bad = map[string]int{}
			for start := time.Now(); start.Before(until); start = time.Now() {
				if wrong := one(int(next.Add(1) - 1)); wrong != "" {
					r.bad[wrong]++
				}
				r.took = append(r.took, float64(time.Since(start).Nanoseconds())/1000)
			}
		}(&results[w])
	}
	wg.Wait()
	lasted := time.Since(began).Seconds()
	var took []float64
	bad := map[string]int{}
	for _, r := range results {
		took = append(took, r.took...)
		for text, n := range r.bad {
			bad[text] += n
		}
	}
	sort.Float64s(took)
	at := func(q float64) float64 { return took[int(q*float64(len(took)-1))] }
	say(map[string]any{"calls": len(took), "failed": bad, "seconds": lasted, "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1)})
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// body is a request, and the answer that it must get; nil: any that is not empty.
type body struct{ request, answer []byte }

func readBodies(path string) []body {
	file, err := os.Open(path)
	fatal(err)
	defer file.Close()
	var all []body
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		request, answer, _ := strings.Cut(lines.Text(), " ")
		var b body
		b.request, err = base64.StdEncoding.DecodeString(request)
		fatal(err)
		if answer != "" {
			b.answer, err = base64.StdEncoding.DecodeString(answer)
			fatal(err)
		}
		all = append(all, b)
	}
	fatal(lines.Err())
	return all
}

func (b body) wrong(answer []byte) string {
	if len(answer) == 0 || b.answer != nil && !bytes.Equal(answer, b.answer) {
		return "another answer"
	}
	return ""
}

// loadBodies calls METHOD with the requests of a file in turn.
func loadBodies(conn *grpc.ClientConn, method string, seconds float64, workers int, path string) {
	all := readBodies(path)
	measure(seconds, workers, func(n int) string {
		b := all[n%len(all)]
		answer, err := invoke(conn, method, b.request, 30*time.Second)
		if err != nil {
			return status.Code(err).String() + ": " + status.Convert(err).Message()
		}
		return b.wrong(answer)
	})
}

// loadPost sends the requests of a file to a server of HTTP/1.1 in turn, each worker on a connection that is kept.
func loadPost(url, ca, token string, seconds float64, workers int, path string) {
	pem, err := os.ReadFile(ca)
	fatal(err)
	secret, err := os.ReadFile(token)
	fatal(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}, MaxIdleConnsPerHost: workers}}
	all := readBodies(path)
	measure(seconds, workers, func(n int) string {
		b := all[n%len(all)]
		request, err := http.NewRequest("POST", url, bytes.NewReader(b.request))
		if err != nil {
			return err.Error()
		}
		request.Header.Set("X-Vault-Token", strings.TrimSpace(string(secret)))
		answer, err := client.Do(request)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Sprintf("%s %v", answer.Status, err)
		}
		return b.wrong(text)
	})
}

// first waits for a server that is about to start, and says at which time it gave its first answer, in nanoseconds of
// the epoch. A connection is made only once the socket takes some: grpc-go's own second try comes after a second.
func first(socket, method string, timeout time.Duration) {
	say(map[string]any{"waiting": true})
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		probe, err := net.Dial("unix", socket)
		if err == nil {
			probe.Close()
			break
		}
		if ctx.Err() != nil {
			fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
	}
	var request, answer []byte
	err := dial(socket).Invoke(ctx, method, &request, &answer, grpc.WaitForReady(true))
	say(map[string]any{"at": time.Now().UnixNano(), "code": status.Code(err).String()})
}
