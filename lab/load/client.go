package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"svckit/lib/dnsd"
)

// Client is an HTTP client that finds services by SRV from this DNS server at
// every new connection. Without keepAlive that is every request.
func Client(server string, keepAlive bool) *http.Client {
	return client(keepAlive, func(ctx context.Context, name, _ string) (string, error) {
		a, err := Resolved(func() (dnsd.Answer, error) { return dnsd.Lookup(ctx, server, name) })
		if err != nil {
			return "", err
		}
		if len(a.Endpoints) == 0 {
			return "", fmt.Errorf("%s has no endpoint", name)
		}
		e := a.Endpoints[rand.IntN(len(a.Endpoints))]
		return net.JoinHostPort(e.Address, strconv.Itoa(e.Port)), nil
	})
}

// PlainClient is an HTTP client that finds services by plain A answers, as most
// programs do; the port is the one of the URL.
func PlainClient(server string, keepAlive bool) *http.Client {
	return client(keepAlive, func(ctx context.Context, name, port string) (string, error) {
		found, err := Resolved(func() ([]netip.Addr, error) { return dnsd.LookupA(ctx, server, name) })
		if err != nil {
			return "", err
		}
		if len(found) == 0 {
			return "", fmt.Errorf("%s has no address", name)
		}
		return net.JoinHostPort(found[rand.IntN(len(found))].String(), port), nil
	})
}

// Resolved asks again when there was no answer, as resolvers do (glibc: twice, 5 s each; here four times, 3 s each). A
// name without an address is an answer.
func Resolved[T any](ask func() (T, error)) (found T, err error) {
	for range 4 {
		if found, err = ask(); err == nil {
			break
		}
	}
	return found, err
}

func client(keepAlive bool, find func(ctx context.Context, name, port string) (address string, err error)) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if address, err = find(ctx, name, port); err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, address)
	}
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: !keepAlive}}
}
