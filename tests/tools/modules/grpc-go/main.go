// SPDX-License-Identifier: Apache-2.0

// grpc-go is the client, and the server to compare with, that tests and measurements of lib/grpc run: real grpc-go,
// with bytes for messages. It prints one JSON object a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// bytesCodec passes []byte through, under the name that both sides expect.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

func say(v any) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		os.Exit(1)
	}
}

func dial(path string, options ...grpc.DialOption) *grpc.ClientConn {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	conn, err := grpc.NewClient("unix:"+path, options...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return conn
}

func invoke(conn *grpc.ClientConn, method string, request []byte, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var answer []byte
	err := conn.Invoke(ctx, method, &request, &answer)
	return answer, err
}

// call METHOD BYTES TIMEOUT: one call, what came of it.
func call(conn *grpc.ClientConn, method string, size int, timeout time.Duration) {
	request := []byte(strings.Repeat("x", size))
	answer, err := invoke(conn, method, request, timeout)
	s := status.Convert(err)
	say(map[string]any{"code": s.Code().String(), "message": s.Message(), "bytes": len(answer),
		"same": string(answer) == string(request)})
}

// storm N: calls that the client gives up in flight, then one that must work.
func storm(conn *grpc.ClientConn, method string, n int) {
	var wg sync.WaitGroup
	counts := map[string]int{}
	var mu sync.Mutex
	for worker := 0; worker < 50; worker++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < n/50; i++ {
				_, err := invoke(conn, method, []byte("storm"), 2*time.Millisecond)
				mu.Lock()
				counts[status.Code(err).String()]++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	_, err := invoke(conn, "/test.Echo/Echo", []byte("after"), 5*time.Second)
	say(map[string]any{"codes": counts, "after": status.Code(err).String()})
}

// load SECONDS WORKERS SIZE: calls one after the other by each worker; latencies in microseconds.
func load(conn *grpc.ClientConn, method string, seconds float64, workers, size int) {
	request := []byte(strings.Repeat("x", size))
	measure(seconds, workers, func(int) string {
		answer, err := invoke(conn, method, request, 30*time.Second)
		if err != nil || len(answer) != size {
			return status.Convert(err).Code().String() + ": " + status.Convert(err).Message()
		}
		return ""
	})
}

// ask: for each line of standard input {"id", "method", "body", "timeout_ms"} one call, all at the same time; what came of
// it, with its id, when it is there. A line {"id", "cancel": true} gives up that call.
func ask(conn *grpc.ClientConn) {
	type question struct {
		ID        int    `json:"id"`
		Method    string `json:"method"`
		Body      []byte `json:"body"`
		TimeoutMS int    `json:"timeout_ms"`
		Cancel    bool   `json:"cancel"`
	}
	var out sync.Mutex
	var calls sync.WaitGroup
	var cancels sync.Map
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if q.Cancel {
			if cancel, ok := cancels.Load(q.ID); ok {
				cancel.(context.CancelFunc)()
			}
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(q.TimeoutMS)*time.Millisecond)
		cancels.Store(q.ID, cancel)
		calls.Add(1)
		go func() {
			defer calls.Done()
			defer cancel()
			var answer []byte
			err := conn.Invoke(ctx, q.Method, &q.Body, &answer, grpc.WaitForReady(true))
			s := status.Convert(err)
			out.Lock()
			defer out.Unlock()
			say(map[string]any{"id": q.ID, "code": s.Code().String(), "message": s.Message(), "body": answer})
		}()
	}
	calls.Wait()
}

type echoServer struct{}

func handleEcho(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var request []byte
	if err := decode(&request); err != nil {
		return nil, err
	}
	if string(request) == "deny" {
		return nil, status.Error(codes.PermissionDenied, "denied")
	}
	return &request, nil
}

// handleNoController answers ControllerGetCapabilities: one capability, of no type.
func handleNoController(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var request []byte
	if err := decode(&request); err != nil {
		return nil, err
	}
	return &[]byte{0x0a, 0x02, 0x0a, 0x00}, nil
}

var echo = grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: handleEcho}}}

// For csi-sanity, which asks drivers without a controller for its capabilities, too, before each test of the node.
var noController = grpc.ServiceDesc{ServiceName: "csi.v1.Controller", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "ControllerGetCapabilities", Handler: handleNoController}}}

// serve: a grpc-go server.
func serve(path string, service *grpc.ServiceDesc) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}), grpc.MaxRecvMsgSize(64<<20))
	server.RegisterService(service, echoServer{})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() { <-ended; server.GracefulStop() }()
	say(map[string]any{"ready": true})
	if err := server.Serve(listener); err != nil {
		os.Exit(1)
	}
}

func main() {
	socket := flag.String("socket", "", "path of the UNIX socket")
	method := flag.String("method", "/test.Echo/Echo", "what is called")
	size := flag.Int("size", 10, "bytes of a request")
	timeout := flag.Duration("timeout", 5*time.Second, "of one call")
	n := flag.Int("n", 4000, "calls of a storm")
	seconds := flag.Float64("seconds", 1, "how long load or idle lasts")
	workers := flag.Int("workers", 1, "how many call at a time")
	authority := flag.String("authority", "", "what :authority says")
	bodies := flag.String("bodies", "", "file of requests for bodies and post: REQUEST [ANSWER] a line, in base64")
	url := flag.String("url", "", "where post sends them")
	ca := flag.String("ca", "", "file of the CA of url")
	token := flag.String("token", "", "file of the token for url")
	ping := flag.Duration("ping", 0, "keepalive pings so often, without calls too (10s at least)")
	flag.Parse()
	var options []grpc.DialOption
	if *authority != "" {
		options = append(options, grpc.WithAuthority(*authority))
	}
	if *ping > 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: *ping, Timeout: 2 * time.Second, PermitWithoutStream: true}))
	}
	switch flag.Arg(0) {
	case "call":
		call(dial(*socket, options...), *method, *size, *timeout)
	case "storm":
		storm(dial(*socket, options...), *method, *n)
	case "load":
		load(dial(*socket, options...), *method, *seconds, *workers, *size)
	case "bodies":
		loadBodies(dial(*socket, options...), *method, *seconds, *workers, *bodies)
	case "post":
		loadPost(*url, *ca, *token, *seconds, *workers, *bodies)
	case "first":
		first(*socket, *method, *timeout)
	case "idle":
		conn := dial(*socket, options...)
		call(conn, *method, *size, *timeout)
		time.Sleep(time.Duration(*seconds * float64(time.Second)))
		call(conn, *method, *size, *timeout)
	case "ask":
		ask(dial(*socket, options...))
	case "serve":
		serve(*socket, &echo)
	case "no-controller":
		serve(*socket, &noController)
	default:
		fmt.Fprintln(os.Stderr, "usage: grpc-go --socket PATH [flags] call|storm|load|bodies|post|first|idle|ask|serve|no-controller")
		os.Exit(2)
	}
}
