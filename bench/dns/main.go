// Command dns measures svc-dns and other DNS servers on the same data, in one
// run: each server alone on core 0, the generator (dnsperf, then a faster one) on core 1. The data
// is one service with ten instances in Consul. Servers that only forward ask
// Consul and keep its answers; with "static" they hold the same records themselves.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	seconds := flag.Int("seconds", 5, "length of each measurement")
	only := flag.String("only", "", "measure only the server of this name")
	sockets := flag.Int("sockets", 4, "sockets that the generator asks from")
	changes := flag.Int("changes", 200, "changes in Consul that are timed; 0: none")
	flood := flag.String("flood", "", "only be the fast generator, against this address")
	ask := flag.String("ask", "", "the name that it asks for")
	flag.Parse()
	if *flood != "" {
		if err := floodFrom(*flood, *ask, time.Duration(*seconds)*time.Second, *sockets); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if err := bench(*seconds, *only, *changes, *sockets); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func bench(seconds int, only string, changes, sockets int) error {
	g, err := newGround()
	if err != nil {
		return err
	}
	defer g.close()
	g.sockets = sockets
	fmt.Printf("| server, one core | q/s, dnsperf | µs CPU per query | q/s, flood | µs CPU per query | p50 ms at 10k q/s | p99 ms | MiB |\n|---|---|---|---|---|---|---|---|\n")
	for _, p := range g.peers() {
		if only != "" && only != p.name {
			continue
		}
		r, err := g.measure(p, time.Duration(seconds)*time.Second)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Println(r)
	}
	if only != "" && only != "svc-dns" || changes == 0 {
		return nil
	}
	return g.changes(changes)
}
