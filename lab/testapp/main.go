// Command testapp is the service that tests run: a small HTTP server whose
// manners come from the file /manners in its image.
//
//	good   is well, and ends as a good server does
//	bad    answers /healthz with 500
//	crash  ends at once with exit code 3
//	flap   /healthz passes every other time it is asked
//	slow   is well after three seconds
//	sour   /smoke answers 500 on the nodes that are named after it, e.g. "sour node3"
//	grpc   answers the standard gRPC health service on its port, and nothing else
//	idle   listens on nothing and runs until it is told to stop
//	job    takes JOB_SLEEP, adds a line to the file JOB_FILE, and ends with exit code JOB_EXIT
//
// GET / answers the text of /release. GET /env?NAME shows a variable, GET /file?PATH a file.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	manners := text("/manners")
	log.Printf("testapp %s starts, manners %q", text("/release"), manners)
	if manners == "crash" {
		log.Print("cannot find my configuration, giving up")
		os.Exit(3)
	}
	if manners == "job" {
		os.Exit(job())
	}
	if err := serve(manners); err != nil {
		log.Fatal(err)
	}
}

// job is a program that ends by itself.
func job() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if path := os.Getenv("JOB_FILE"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
		if err != nil {
			log.Print(err)
			return 2
		}
		fmt.Fprintln(f, os.Getenv("SVC_NODE"), time.Now().Unix())
		_ = f.Close()
	}
	sleep, _ := time.ParseDuration(os.Getenv("JOB_SLEEP"))
	select {
	case <-time.After(sleep):
	case <-ctx.Done():
		log.Print("told to end")
		return 143
	}
	log.Print("the job is done")
	code, _ := strconv.Atoi(os.Getenv("JOB_EXIT"))
	return code
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func serve(manners string) error {
	port := os.Getenv("SVC_PORT")
	if port == "" {
		port = "8000"
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch manners {
	case "idle":
		<-ctx.Done()
		return nil
	case "grpc":
		return serveGRPC(ctx, port)
	}
	server := &http.Server{Addr: ":" + port, Handler: routes(manners), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Keep-alive clients are told to go; those that come in meanwhile are served.
	server.SetKeepAlivesEnabled(false)
	wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(wait)
}

func serveGRPC(ctx context.Context, port string) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	well := health.NewServer()
	well.SetServingStatus("shop.Orders", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, well)
	context.AfterFunc(ctx, server.GracefulStop)
	return server.Serve(l)
}

func routes(manners string) http.Handler {
	began := time.Now()
	var asked atomic.Int64 // how often /healthz was
	release := text("/release")
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, release) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.URL.RawQuery)) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, r.URL.RawQuery) })
	mux.HandleFunc("/smoke", func(w http.ResponseWriter, _ *http.Request) {
		if word, nodes, _ := strings.Cut(manners, " "); word == "sour" && slices.Contains(strings.Fields(nodes), os.Getenv("SVC_NODE")) {
			http.Error(w, "sour on "+os.Getenv("SVC_NODE"), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "fresh")
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		age := time.Since(began)
		switch {
		case manners == "bad", manners == "slow" && age < 3*time.Second:
			http.Error(w, "not well", http.StatusInternalServerError)
		case manners == "flap" && asked.Add(1)%2 == 0:
			http.Error(w, "not well this time", http.StatusInternalServerError)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	return mux
}
