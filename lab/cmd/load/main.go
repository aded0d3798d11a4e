// Command load puts HTTP load on a service that it finds by name, until it is
// interrupted or its time is over, and then prints what came of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"svckit/lab/load"
	"svckit/lib/dnsd"
)

func main() {
	server := flag.String("dns", "127.0.0.1:8600", "DNS server, `host:port`")
	limit := flag.Duration("for", time.Minute, "longest time")
	where := flag.String("where", "", "only print where `NAME` is found, host:port")
	all := flag.Bool("all", false, "with -where: every answer, with its name")
	plain := flag.Bool("plain", false, "find the service by plain A answers; the port is the URL's")
	most := flag.Float64("rate", 0, "most requests a second; 0: as many as go")
	least := flag.Int64("least", 0, "go on after an interruption until so many requests were answered")
	flag.Parse()
	if *where != "" {
		os.Exit(show(*server, *where, *all))
	}
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "load: expected one URL, e.g. http://app-web.service.consul/")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client := load.Client
	if *plain {
		client = load.PlainClient
	}
	pace := rate.Inf
	if *most > 0 {
		pace = rate.Limit(*most)
	}
	l := load.StartAt(pace, flag.Arg(0), client(*server, false), client(*server, true), client(*server, true))
	end := time.After(*limit)
	select {
	case <-ctx.Done():
	case <-end:
	}
	early := l.Done.Load()
	for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() != nil && l.Done.Load() < *least; {
		select {
		case <-tick.C:
			continue
		case <-end:
		}
		break
	}
	l.Stop()
	fmt.Printf("%d requests answered, %d failed (one client resolves for each request, two keep their connection)\n", l.Done.Load(), l.Failed.Load())
	if early < *least {
		fmt.Printf("  %d of them before it was told to end\n", early)
	}
	for text, n := range l.Errors() {
		fmt.Printf("  %d × %s\n", n, text)
	}
	if l.Failed.Load() > 0 {
		os.Exit(1)
	}
}

// show prints what DNS answers for a name.
func show(server, name string, all bool) int {
	answer, err := dnsd.Lookup(context.Background(), server, name)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 1
	}
	if len(answer.Endpoints) == 0 {
		fmt.Fprintf(os.Stderr, "load: %s is not known to DNS\n", name)
		return 1
	}
	for _, e := range answer.Endpoints {
		if !all {
			fmt.Printf("%s:%d\n", e.Address, e.Port)
			return 0
		}
		fmt.Printf("%s  SRV  %s:%d  weight %d\n", name, e.Address, e.Port, e.Weight)
	}
	return 0
}
