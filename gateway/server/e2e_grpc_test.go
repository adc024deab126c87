package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcApp is an app server that speaks gRPC, and nothing else.
type grpcApp struct {
	pb.UnimplementedTestServiceServer
	addr string
	*grpc.Server
	ended chan error // how the contexts of its calls ended
}

func newGRPCApp(t testing.TB) *grpcApp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &grpcApp{addr: l.Addr().String(), Server: grpc.NewServer(), ended: make(chan error, 16)}
	pb.RegisterTestServiceServer(a.Server, a)
	go a.Serve(l)
	t.Cleanup(a.Stop)
	return a
}

// UnaryCall sends the payload back, with metadata before and after; or fails
// as it is told to; or, asked for "forever", waits until nobody wants it any more.
func (a *grpcApp) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("app-header", "h", "app-saw", strings.Join(md.Get("client-said"), ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("app-trailer", "t", "app-trailer-bin", "\x00\xff"))
	if s := in.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.Code), s.Message)
	}
	if string(in.GetPayload().GetBody()) == "forever" {
		<-ctx.Done()
		a.ended <- ctx.Err()
		return nil, ctx.Err()
	}
	return &pb.SimpleResponse{Payload: in.Payload}, nil
}

// FullDuplexCall answers every message at once, and ends with a status of its
// own when it is sent "die".
func (a *grpcApp) FullDuplexCall(s grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			s.SetTrailer(metadata.Pairs("app-trailer", "end"))
			return nil
		}
		if err != nil {
			a.ended <- s.Context().Err()
			return err
		}
		if string(in.GetPayload().GetBody()) == "die" {
			return status.Error(codes.DataLoss, "50 % are gone: ☹")
		}
		if err := s.Send(&pb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

func grpcClient(t testing.TB, addr string, creds credentials.TransportCredentials) pb.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewTestServiceClient(conn)
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func payload(text string) *pb.Payload { return &pb.Payload{Body: []byte(text)} }

// grpcPolicy has everything on that could come between a message and its
// recipient: limits, sessions, a cache, and a purge by unsafe requests.
const grpcPolicy = `
upstreams: {app: {servers: ["http://%s"], protocol: h2c}}
limits: {per-ip: {requests: 100000, window: 1m}, failures: {key: [ip, route], requests: 1000, window: 1m, count: failed}}
caches: {pages: {ttl: 1m}}
defaults: {limits: [per-ip, failures], cache: pages, session: optional}
routes: [{name: all, path: /*, upstream: app, purge: pages}]
`

// eachFront runs a test behind TLS and HTTP/2, and behind HTTP/2 without TLS.
func eachFront(t *testing.T, test func(t *testing.T, server string, creds credentials.TransportCredentials)) {
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		test(t, newKeyPair(t).server(", max_body: 0"), credentials.NewTLS(anyCertificate()))
	})
	t.Run("h2c", func(t *testing.T) {
		t.Parallel()
		test(t, fmt.Sprintf(h2cServer, ", max_body: 0"), insecure.NewCredentials())
	})
}

func TestGRPCUnaryCallsPassWithMetadataAndStatus(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, server string, creds credentials.TransportCredentials) {
		app := newGRPCApp(t)
		g := start(t, server+fmt.Sprintf(grpcPolicy, app.addr))
		client := grpcClient(t, g.Addr(), creds)

		for _, size := range []int{0, 1, 100_000, 3 << 20} {
			var header, trailer metadata.MD
			ctx := metadata.AppendToOutgoingContext(soon(t), "client-said", "hello")
			out, err := client.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload(strings.Repeat("x", size))}, grpc.Header(&header), grpc.Trailer(&trailer))
			if err != nil || len(out.GetPayload().GetBody()) != size {
				t.Fatalf("%d bytes: got %d, %v", size, len(out.GetPayload().GetBody()), err)
			}
			if got := header.Get("app-header"); len(got) != 1 || got[0] != "h" || header.Get("app-saw")[0] != "hello" {
				t.Errorf("header %v", header)
			}
			if got := trailer.Get("app-trailer-bin"); len(got) != 1 || got[0] != "\x00\xff" || trailer.Get("app-trailer")[0] != "t" {
				t.Errorf("trailer %v", trailer)
			}
		}

		// Every status, with what is hard to encode.
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			var trailer metadata.MD
			message := fmt.Sprintf("100 %% %s: ☹\n", code)
			_, err := client.UnaryCall(soon(t), &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: int32(code), Message: message}}, grpc.Trailer(&trailer))
			if s := status.Convert(err); s.Code() != code || s.Message() != message {
				t.Errorf("%s came as %s: %q", code, s.Code(), s.Message())
			}
			if len(trailer.Get("app-trailer")) != 1 {
				t.Errorf("%s: trailer %v", code, trailer)
			}
		}
		if _, err := client.UnimplementedCall(soon(t), &pb.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("an unknown method: %v", err)
		}
	})
}

func TestGRPCStreamsPassMessageByMessageBothWays(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, server string, creds credentials.TransportCredentials) {
		app := newGRPCApp(t)
		g := start(t, server+fmt.Sprintf(grpcPolicy, app.addr))
		client := grpcClient(t, g.Addr(), creds)

		stream, err := client.FullDuplexCall(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 { // each waits for the one before: nothing may be held back
			text := fmt.Sprintf("message %d", i)
			if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: payload(text)}); err != nil {
				t.Fatal(err)
			}
			in, err := stream.Recv()
			if err != nil || string(in.GetPayload().GetBody()) != text {
				t.Fatalf("message %d came back as %q, %v", i, in.GetPayload().GetBody(), err)
			}
		}
		stream.CloseSend()
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) || len(stream.Trailer().Get("app-trailer")) != 1 {
			t.Errorf("the end: %v, trailer %v", err, stream.Trailer())
		}

		// The app may end a stream while the client is still sending.
		stream, err = client.FullDuplexCall(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: payload("die")}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "50 % are gone: ☹" {
			t.Errorf("the app's own end: %v", err)
		}
	})
}

func TestGRPCDeadlinesAndCancellationReachTheApp(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, server string, creds credentials.TransportCredentials) {
		app := newGRPCApp(t)
		g := start(t, server+fmt.Sprintf(grpcPolicy, app.addr))
		client := grpcClient(t, g.Addr(), creds)

		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // within which the call must reach the app
		defer cancel()
		if _, err := client.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload("forever")}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("after the deadline: %v", err)
		}
		if err := <-app.ended; err == nil {
			t.Error("the app went on")
		}

		ctx, cancel = context.WithCancel(soon(t))
		defer cancel()
		stream, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: payload("x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-app.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the app's stream ended with %v", err)
		}
	})
}

func TestGRPCClientsGetTheGatewaysErrorsAsStatus(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, server string, creds credentials.TransportCredentials) {
		app := newGRPCApp(t)
		deaf, err := net.Listen("tcp", "127.0.0.1:0") // connects, and says nothing
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { deaf.Close() })
		nobody, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nobody.Close()
		g := start(t, strings.Replace(server, "max_body: 0", "max_body: 1KiB", 1)+fmt.Sprintf(`
upstreams:
  app: {servers: ["http://%s"], protocol: h2c}
  down: {servers: ["http://%s"], protocol: h2c}
  deaf: {servers: ["http://%s"], protocol: h2c, timeout: 100ms, retries: 0}
limits: {few: {requests: 1, window: 1h}}
clients: {acme: {key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}}
routes:
  - {name: limited, path: /grpc.testing.TestService/CacheableUnaryCall, upstream: app, limits: few}
  - {name: down, path: /grpc.testing.TestService/EmptyCall, upstream: down}
  - {name: deaf, path: /grpc.testing.TestService/UnimplementedCall, upstream: deaf}
  - {name: private, path: /grpc.testing.TestService/StreamingInputCall, upstream: app, session: required}
  - {name: keyed, path: /grpc.testing.TestService/HalfDuplexCall, upstream: app, client: required}
  - {name: app, path: /grpc.testing.TestService/UnaryCall, upstream: app}
  - {name: read-only, path: /grpc.testing.TestService/FullDuplexCall, methods: [GET], upstream: app}
  - {name: closed, path: /grpc.testing.TestService/StreamingOutputCall, upstream: app, maintenance: {}}
`, app.addr, nobody.Addr(), deaf.Addr()))
		client := grpcClient(t, g.Addr(), creds)
		ctx := soon(t)
		big := &pb.SimpleRequest{Payload: payload(strings.Repeat("x", 5000))}
		_, _ = client.CacheableUnaryCall(ctx, &pb.SimpleRequest{}) // the one that is admitted

		for name, test := range map[string]struct {
			call    func(...grpc.CallOption) error
			want    codes.Code
			message string
			status  int // in the log
		}{
			"no route": {func(o ...grpc.CallOption) error {
				conn, err := grpc.NewClient("passthrough:///"+g.Addr(), grpc.WithTransportCredentials(creds))
				if err != nil {
					return err
				}
				defer conn.Close()
				return conn.Invoke(ctx, "/no.Such/Method", &pb.Empty{}, &pb.Empty{}, o...)
			}, codes.Unimplemented, "No route of this gateway fits the request.", 404},
			"upstream down": {func(o ...grpc.CallOption) error { _, err := client.EmptyCall(ctx, &pb.Empty{}, o...); return err },
				codes.Unavailable, "No app server could answer.", 502},
			"upstream silent": {func(o ...grpc.CallOption) error {
				_, err := client.UnimplementedCall(ctx, &pb.Empty{}, o...)
				return err
			},
				codes.Unavailable, "The app server did not answer in time.", 504},
			"over the limit": {func(o ...grpc.CallOption) error {
				_, err := client.CacheableUnaryCall(ctx, &pb.SimpleRequest{}, o...)
				return err
			}, codes.Unavailable, "Request cannot be satisfied as assigned quota has been exceeded.", 429},
			"no session": {func(o ...grpc.CallOption) error {
				s, err := client.StreamingInputCall(ctx, o...)
				if err == nil {
					_, err = s.CloseAndRecv()
				}
				return err
			}, codes.Unauthenticated, "", 401},
			"no API key": {func(o ...grpc.CallOption) error {
				s, err := client.HalfDuplexCall(ctx, o...)
				if err == nil {
					_, err = s.Recv()
				}
				return err
			}, codes.Unauthenticated, "An API key is needed: X-API-Key, or Authorization: Bearer.", 401},
			"body too large": {func(o ...grpc.CallOption) error { _, err := client.UnaryCall(ctx, big, o...); return err },
				codes.ResourceExhausted, "", 413},
			"wrong method": {func(o ...grpc.CallOption) error {
				s, err := client.FullDuplexCall(ctx, o...)
				if err == nil {
					_, err = s.Recv()
				}
				return err
			}, codes.Unimplemented, "This path is not served with POST.", 405},
			"maintenance": {func(o ...grpc.CallOption) error {
				s, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{}, o...)
				if err == nil {
					_, err = s.Recv()
				}
				return err
			}, codes.Unavailable, "This service is being worked on.", 503},
		} {
			t.Run(name, func(t *testing.T) {
				var header, trailer metadata.MD
				s := status.Convert(test.call(grpc.Header(&header), grpc.Trailer(&trailer)))
				if s.Code() != test.want || test.message != "" && s.Message() != test.message || strings.Contains(s.Message(), "unexpected") {
					t.Errorf("%s: %q", s.Code(), s.Message())
				}
				all := metadata.Join(header, trailer)
				ids := all.Get("x-request-id")
				if len(ids) != 1 {
					t.Fatalf("no request ID: header %v, trailer %v", header, trailer)
				}
				if test.status == 429 && (len(all.Get("ratelimit")) == 0 || len(all.Get("retry-after")) == 0 || len(all.Get("grpc-retry-pushback-ms")) == 0) {
					t.Errorf("a denial that does not say until when: %v", all)
				}
				eventually(t, "the log has it", func() bool { return strings.Contains(g.log.String(), ids[0]) })
				for line := range strings.Lines(g.log.String()) {
					if strings.Contains(line, ids[0]) && !strings.Contains(line, fmt.Sprintf(`"status":%d,`, test.status)) {
						t.Errorf("logged as %s", line)
					}
				}
			})
		}
	})
}

func TestGRPCStreamOfADyingAppEndsWithAnError(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, server string, creds credentials.TransportCredentials) {
		app := newGRPCApp(t)
		g := start(t, server+fmt.Sprintf(grpcPolicy, app.addr))
		stream, err := grpcClient(t, g.Addr(), creds).FullDuplexCall(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: payload("x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		app.Stop()
		if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) || status.Code(err) == codes.DeadlineExceeded {
			t.Errorf("the stream of a dead app ended with %v", err)
		}
	})
}
