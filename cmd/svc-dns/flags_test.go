package main

import (
	"slices"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/follow"
	"svckit/lib/node"
)

// chosen is what serve is told by flags on a node with settings.
func chosen(t *testing.T, n node.Settings, args ...string) options {
	t.Helper()
	var o options
	app := &cli.App{Flags: serveFlags(), Action: func(c *cli.Context) (err error) {
		o, err = readOptions(c, n)
		return err
	}}
	if err := app.Run(append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestFlagsOverrideTheNodesSettings(t *testing.T) {
	set := node.Default()
	set.DNSOne, set.DNSLimit, set.DNSScale, set.DNSWatches, set.DNSRate, set.DNSHold, set.DNSMaxAge, set.DNSTTL = true, 3, 256, 7, 8, time.Minute, time.Hour, 5*time.Second
	set.DNSListen = []string{"10.0.0.7:53"}
	for _, row := range []struct {
		name              string
		settings          node.Settings
		args              []string
		one               bool
		limit, scale      int
		watches, rate     int
		hold, maxAge, ttl time.Duration
		listen            []string
	}{
		{"neither", node.Default(), nil, false, 0, 1, 120, 5000, 2 * time.Minute, 24 * time.Hour, 0, []string{"127.0.0.1:53"}},
		{"settings", set, nil, true, 3, 256, 7, 8, time.Minute, time.Hour, 5 * time.Second, []string{"10.0.0.7:53"}},
		{
			"both", set,
			[]string{"--one=false", "--limit", "0", "--srv-scale", "2", "--watches", "0", "--rate", "0", "--hold", "0s", "--max-age", "2h", "--ttl", "0s", "--listen", "127.0.0.1:53"},
			false, 0, 2, 0, 0, 0, 2 * time.Hour, 0,
			[]string{"127.0.0.1:53"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := chosen(t, row.settings, row.args...)
			p := o.follow.Policy
			if o.one != row.one || p.Limit != row.limit || p.Scale != row.scale || o.follow.Watches != row.watches || o.rate != row.rate ||
				o.follow.Hold != row.hold || o.follow.MaxAge != row.maxAge || p.TTL != uint32(row.ttl/time.Second) || !slices.Equal(o.listen, row.listen) {
				t.Errorf("got %+v", o)
			}
		})
	}
}

// The node's defaults and those of the keeper are written in two places, since a node knows no keeper.
func TestDefaultsAgree(t *testing.T) {
	n, d := node.Default(), follow.Defaults()
	if n.DNSHold != d.Hold || n.DNSMaxAge != d.MaxAge || n.DNSWatches != d.Watches {
		t.Errorf("node %v %v %d, keeper %v %v %d", n.DNSHold, n.DNSMaxAge, n.DNSWatches, d.Hold, d.MaxAge, d.Watches)
	}
}
