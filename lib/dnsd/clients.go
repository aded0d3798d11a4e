package dnsd

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Clients says who may ask, and how often a client may ask what has to be
// thought about or asked of others. It is safe for concurrent use.
type Clients struct {
	configured []netip.Prefix
	perSecond  rate.Limit
	allowed    atomic.Pointer[[]netip.Prefix]

	mu     sync.Mutex
	limits map[netip.Addr]*rate.Limiter
}

// maxClients is how many clients are told apart; beyond, counting starts anew.
const maxClients = 4096

// NewClients allows loopback, this machine's own addresses, the networks of
// Docker's bridges, and the networks given. perSecond is for each client.
func NewClients(more []netip.Prefix, perSecond int) (*Clients, error) {
	c := &Clients{configured: more, perSecond: rate.Limit(perSecond), limits: map[netip.Addr]*rate.Limiter{}}
	return c, c.Refresh()
}

// Refresh looks at the machine's interfaces again: bridges come and go.
func (c *Clients) Refresh() error {
	found := append([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, c.configured...)
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			continue // it has gone
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				found = append(found, allow(i.Name, p))
			}
		}
	}
	c.allowed.Store(&found)
	return nil
}

func allow(name string, p netip.Prefix) netip.Prefix {
	if name == "docker0" || strings.HasPrefix(name, "br-") {
		return p.Masked()
	}
	return netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
}

// Allowed reports whether a client may ask at all.
func (c *Clients) Allowed(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for _, p := range *c.allowed.Load() {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// Take reports whether a client may cause work once more.
func (c *Clients) Take(client netip.Addr, now time.Time) bool {
	if c.perSecond <= 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.limits[client]
	if l == nil {
		if len(c.limits) >= maxClients {
			clear(c.limits)
		}
		l = rate.NewLimiter(c.perSecond, 2*int(c.perSecond))
		c.limits[client] = l
	}
	return l.AllowN(now, 1)
}
