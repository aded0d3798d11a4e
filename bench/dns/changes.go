package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"svckit/bench/stage"
	"svckit/lib/dnsd"
)

// changes measures how soon an answer follows Consul: from the moment when the
// agent has taken a change to the first answer that shows it; and beside it how
// soon a blocking query of the bench's own returns, which is Consul's part of that.
func (g *ground) changes(count int) error {
	p := g.peers()[0]
	if err := g.run(p.command()); err != nil {
		return err
	}
	if err := stage.Until(20*time.Second, p.name, func() error { return ping(p) }); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := listen(ctx)
	time.Sleep(time.Second) // its watch runs
	var in, out, inTold, outTold []float64
	for n := range count {
		began := time.Now()
		if err := register(100, 1); err != nil {
			return err
		}
		took, heard, err := follows(p, told, began, instances+1)
		if err != nil {
			return fmt.Errorf("change %d: %w", n, err)
		}
		in, inTold = append(in, took), append(inTold, heard)
		time.Sleep(150 * time.Millisecond) // below the pace at which a service is followed
		began = time.Now()
		if err := call(http.MethodPut, "http://"+consulHTTP+"/v1/agent/check/fail/check100", nil); err != nil {
			return err
		}
		if took, heard, err = follows(p, told, began, instances); err != nil {
			return fmt.Errorf("failed check %d: %w", n, err)
		}
		out, outTold = append(out, took), append(outTold, heard)
		if err := call(http.MethodPut, "http://"+consulHTTP+"/v1/agent/service/deregister/web100", nil); err != nil {
			return err
		}
		time.Sleep(250 * time.Millisecond)
	}
	fmt.Printf("\n| svc-dns, %d times | p50 ms | p99 ms | Consul's part, p50 ms | p99 ms |\n|---|---|---|---|---|\n", count)
	for _, row := range []struct {
		what        string
		took, heard []float64
	}{{"registration → first answer with it", in, inTold}, {"failed check → first answer without it", out, outTold}} {
		fmt.Printf("| %s | %.1f | %.1f | %.1f | %.1f |\n", row.what, ms(quantile(row.took, 0.5)), ms(quantile(row.took, 0.99)), ms(quantile(row.heard, 0.5)), ms(quantile(row.heard, 0.99)))
	}
	return nil
}

// follows asks as fast as it can until there are that many addresses, and
// returns when that was and when Consul had told so many, in seconds.
func follows(p peer, told <-chan heard, began time.Time, want int) (took, consul float64, err error) {
	end := began.Add(5 * time.Second)
	for took == 0 {
		got, err := dnsd.CountA(context.Background(), p.address, p.ask)
		switch {
		case err == nil && got == want:
			took = time.Since(began).Seconds()
		case time.Now().After(end):
			return 0, 0, fmt.Errorf("%d addresses, want %d, error %w", got, want, err)
		}
	}
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	for {
		select {
		case h := <-told:
			if h.passing == want && h.at.After(began) {
				return took, h.at.Sub(began).Seconds(), nil
			}
		case <-late.C:
			return 0, 0, fmt.Errorf("consul has not told of %d", want)
		}
	}
}

// heard is what a blocking query returned, and when.
type heard struct {
	passing int
	at      time.Time
}

func listen(ctx context.Context) <-chan heard {
	told := make(chan heard, 100000)
	go func() {
		for index := "0"; ctx.Err() == nil; {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+consulHTTP+"/v1/health/service/web?passing&wait=55s&index="+index, http.NoBody)
			if err != nil {
				return
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				continue
			}
			var list []struct{}
			err = json.NewDecoder(res.Body).Decode(&list)
			res.Body.Close()
			if err == nil {
				index = res.Header.Get("X-Consul-Index")
				told <- heard{len(list), time.Now()}
			}
		}
	}()
	return told
}
