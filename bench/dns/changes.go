package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"svckit/lib/dnsd"
)

// changes measures how soon an answer follows Consul: from the moment when the
// agent has taken a change to the first answer that shows it.
func (g *ground) changes(count int) error {
	p := g.peers()[0]
	if err := g.run(p.command()); err != nil {
		return err
	}
	if err := patiently(20*time.Second, func() error { return ping(p) }); err != nil {
		return err
	}
	time.Sleep(time.Second) // its watch runs
	var in, out []float64
	for n := range count {
		if err := register(100, 1); err != nil {
			return err
		}
		took, err := until(p, instances+1)
		if err != nil {
			return fmt.Errorf("change %d: %w", n, err)
		}
		in = append(in, took.Seconds())
		time.Sleep(150 * time.Millisecond) // below the pace at which a service is followed
		if err := call(http.MethodPut, "http://"+consulHTTP+"/v1/agent/check/fail/check100", nil); err != nil {
			return err
		}
		if took, err = until(p, instances); err != nil {
			return fmt.Errorf("failed check %d: %w", n, err)
		}
		out = append(out, took.Seconds())
		if err := call(http.MethodPut, "http://"+consulHTTP+"/v1/agent/service/deregister/web100", nil); err != nil {
			return err
		}
		time.Sleep(250 * time.Millisecond)
	}
	fmt.Printf("\n| svc-dns, %d times | p50 ms | p99 ms |\n|---|---|---|\n", count)
	fmt.Printf("| registration → first answer with it | %.1f | %.1f |\n", ms(quantile(in, 0.5)), ms(quantile(in, 0.99)))
	fmt.Printf("| failed check → first answer without it | %.1f | %.1f |\n", ms(quantile(out, 0.5)), ms(quantile(out, 0.99)))
	return nil
}

// until asks as fast as it can until there are that many addresses.
func until(p peer, want int) (time.Duration, error) {
	began := time.Now()
	for {
		got, err := dnsd.CountA(context.Background(), p.address, p.ask)
		took := time.Since(began)
		switch {
		case err == nil && got == want:
			return took, nil
		case took > 5*time.Second:
			return 0, fmt.Errorf("%d addresses, want %d, error %w", got, want, err)
		}
	}
}
