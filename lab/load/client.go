package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"svckit/lib/dnsd"
)

// Client is an HTTP client that finds services by SRV from this DNS server at
// every new connection. Without keepAlive that is every request.
func Client(server string, keepAlive bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		a, err := dnsd.Lookup(ctx, server, name)
		if err != nil {
			return nil, err
		}
		if len(a.Endpoints) == 0 {
			return nil, fmt.Errorf("%s has no endpoint", name)
		}
		e := a.Endpoints[rand.IntN(len(a.Endpoints))]
		return dialer.DialContext(ctx, network, net.JoinHostPort(e.Address, strconv.Itoa(e.Port)))
	}
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: !keepAlive}}
}
