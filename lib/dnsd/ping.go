package dnsd

import (
	"context"
	"fmt"

	"github.com/miekg/dns"
)

// Ping asks a server for the address of a name over UDP, and reports whether there is one.
func Ping(ctx context.Context, server, name string) error {
	n, err := CountA(ctx, server, name)
	if err == nil && n == 0 {
		err = fmt.Errorf("no address of %s", name)
	}
	return err
}

// CountA is the number of addresses that a server answers over UDP.
func CountA(ctx context.Context, server, name string) (int, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	q.SetEdns0(1232, false)
	c := dns.Client{Timeout: queryTimeout}
	reply, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil {
		return 0, cause(ctx, err)
	}
	n := 0
	for _, rr := range reply.Answer {
		if _, ok := rr.(*dns.A); ok {
			n++
		}
	}
	return n, nil
}
