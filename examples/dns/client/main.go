// Command client calls a service by its name again and again: client NAME TIMES.
// It takes ports and weights from SRV records, which Go's resolver orders by
// weight, and prints how often each instance answered. DNS_SERVER names the
// server to ask; without it, that of /etc/resolv.conf.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: client NAME TIMES")
	}
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	resolver := &net.Resolver{PreferGo: true}
	if server := os.Getenv("DNS_SERVER"); server != "" {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		}
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answers := map[string]int{}
	for range times {
		who, err := call(resolver, &client, args[0])
		if err != nil {
			return err
		}
		answers[who]++
	}
	var out []string
	for who, n := range answers {
		out = append(out, fmt.Sprintf("%s:%d", who, n))
	}
	sort.Strings(out)
	fmt.Println(strings.Join(out, " "))
	return nil
}

// call tries the instances in the order that the resolver gives until one answers.
func call(resolver *net.Resolver, client *http.Client, name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, found, err := resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return "", err
	}
	for _, srv := range found {
		var addresses []net.IPAddr
		if addresses, err = resolver.LookupIPAddr(ctx, srv.Target); err != nil {
			continue
		}
		var reply *http.Response
		reply, err = client.Get("http://" + net.JoinHostPort(addresses[0].String(), strconv.Itoa(int(srv.Port))) + "/name")
		if err != nil {
			continue
		}
		text, readErr := io.ReadAll(io.LimitReader(reply.Body, 1000))
		reply.Body.Close()
		return string(text), readErr
	}
	return "", fmt.Errorf("no instance of %s answers: %w", name, err)
}
