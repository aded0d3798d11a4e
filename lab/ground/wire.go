package ground

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Fleets have the networks 10.88.0.0/24, 10.88.1.0/24 … Engines pull from their registries without TLS.
const fleetNetworks = "10.88.0.0/16"

// switchBridge is the bridge in the network of its own that the hosts of a fleet are plugged into. Being apart, no rule
// that an engine makes for its own containers is in the way of what hosts say to one another.
const switchBridge = "br0"

// plugSwitch makes the fleet's bridge, and gives the lab's own network an address on it.
func (f *Fleet) plugSwitch(ctx context.Context) error {
	err := ip(ctx, f.wire, "link add "+switchBridge+" type bridge",
		fmt.Sprintf("addr add %s/24 dev %s", f.address(1), switchBridge), "link set "+switchBridge+" up")
	if err != nil {
		return err
	}
	// The link in the lab's network has the fleet's number: there may be others. That of a
	// fleet which has just ended goes when the kernel finds the time: not waited for.
	link := fmt.Sprintf("fleet%d", f.number)
	_ = ip(ctx, f.lab, "link del "+link) // an error where there is none
	return f.plug(ctx, f.lab, link, f.address(254), "lab")
}

// plug gives a place an interface with an address on the bridge; port is its other end.
func (f *Fleet) plug(ctx context.Context, p Place, link, address, port string) error {
	err := ip(ctx, p,
		fmt.Sprintf("link add %s type veth peer name %s netns %s", link, port, filepath.Base(f.wire.Namespace())),
		fmt.Sprintf("addr add %s/24 dev %s", address, link),
		"link set "+link+" up")
	if err != nil {
		return err
	}
	return ip(ctx, f.wire, "link set "+port+" master "+switchBridge+" up")
}

// address is the nth address of the fleet's network.
func (f *Fleet) address(n int) string { return fmt.Sprintf("10.88.%d.%d", f.number, n) }

// CutOff takes the host's cable out: whatever it and the others send is lost.
func (h *Host) CutOff(ctx context.Context) error {
	return ip(ctx, h.fleet.wire, "link set "+h.Name+" down")
}

// Rejoin puts the cable back in.
func (h *Host) Rejoin(ctx context.Context) error {
	return ip(ctx, h.fleet.wire, "link set "+h.Name+" up")
}

// ip runs lines of ip(8) in a place's network, in one process.
func ip(ctx context.Context, p Place, lines ...string) error {
	cmd := exec.CommandContext(ctx, "ip", "-n", filepath.Base(p.Namespace()), "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set up network of %s: %w: %s", p, err, strings.TrimSpace(string(out)))
	}
	return nil
}
