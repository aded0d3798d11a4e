//go:build real

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Workers and instances that must survive the loss of a zone.
const (
	deepWeb = `    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    master: gunicorn
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 1s}
    scale: {strategy: noop, min: 4, survive: zone}
`
	calmWeb = `    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 1s}
    scale: {unit: instances, strategy: noop, min: 2, survive: zone}
`
)

// zoneLost takes the power of all hosts of a zone: what must survive that answers on, out of the other zone, and the status says so.
func zoneLost(t *testing.T, f *wholeFleet) {
	f.release(t, "deep", "web", deepWeb)
	f.release(t, "calm", "web", calmWeb)
	const lost = "b"
	services := []string{"deep/web", "calm/web"}
	for _, name := range services {
		soon(t, 3*time.Minute, name+" in both zones", func() error {
			x, err := f.status(name)
			if err == nil && (x.Zones["a"] == 0 || x.Zones[lost] == 0 || x.Reached < x.Size) {
				err = fmt.Errorf("size %d, ready %v", x.Size, x.Zones)
			}
			return err
		})
	}
	left := map[string][]string{} // what nobody has to do anything about
	for _, name := range services {
		soon(t, time.Minute, name+" is found in the zone that stays", func() error {
			left[name] = slices.DeleteFunc(f.passing(t.Context(), strings.Replace(name, "/", "-", 1)), func(url string) bool { return f.zoneOf(url) == lost })
			if len(left[name]) == 0 {
				return errors.New("nothing passes")
			}
			return nil
		})
	}
	began := time.Now()
	for _, h := range f.Hosts {
		if h.Zone() == lost {
			h.Kill(t)
		}
	}
	for _, name := range services {
		if err := asked(left[name]); err != nil {
			t.Errorf("%s right after the loss: %v", name, err)
		}
	}
	for _, name := range services {
		soon(t, 2*time.Minute, name+" is found in the other zone alone", func() error {
			list := f.passing(t.Context(), strings.Replace(name, "/", "-", 1))
			if k := slices.IndexFunc(list, func(url string) bool { return f.zoneOf(url) == lost }); k >= 0 {
				return fmt.Errorf("%s is found", list[k])
			}
			return asked(list)
		})
		t.Logf("%s is found in zone a alone, and answers, %.1f s after the power of zone %s was cut", name, time.Since(began).Seconds(), lost)
		soon(t, 2*time.Minute, "the status says so", func() error {
			x, err := f.status(name)
			if n, there := x.Zones[lost]; err == nil && (!there || n != 0 || x.Zones["a"] == 0) {
				err = fmt.Errorf("ready %v", x.Zones)
			}
			return err
		})
	}
	all, err := f.statuses()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all.Nodes {
		if want := n.Zone != lost; n.Alive != want {
			t.Errorf("%s of zone %s alive: %v", n.Node, n.Zone, n.Alive)
		}
	}
}

// zoneOf is the zone of the host that a URL of an instance leads to.
func (f *wholeFleet) zoneOf(url string) string {
	for _, h := range f.Hosts {
		if strings.Contains(url, "//"+h.Addr()+":") {
			return h.Zone()
		}
	}
	return ""
}

// asked sends twenty requests to instances in turn.
func asked(urls []string) error {
	if len(urls) == 0 {
		return errors.New("there is no instance")
	}
	for n := range 20 {
		res, err := http.Get(urls[n%len(urls)])
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode != http.StatusOK:
			return fmt.Errorf("%s answered %s", urls[n%len(urls)], res.Status)
		}
	}
	return nil
}

// statuses is what `scaled status` says on the server.
func (f *wholeFleet) statuses(args ...string) (out fleetStatus, err error) {
	cmd := f.Servers[0].Command(f.t, os.Args[0], append([]string{"status", "--json"}, args...)...)
	cmd.Env = append(cmd.Env, f.env...)
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

func (f *wholeFleet) status(name string) (serviceStatus, error) {
	out, err := f.statuses(name)
	if err == nil && len(out.Services) != 1 {
		err = errors.New("it is not in the status")
	}
	if err != nil {
		return serviceStatus{}, err
	}
	return out.Services[0], nil
}
