package docker

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/docker/docker/api/types/network"
)

func TestEveryAddressOfARangeIsChosenOnceAndNoOther(t *testing.T) {
	rows := []struct {
		name string
		c    network.IPAMConfig
		want int
	}{
		{"a subnet without its ends and its gateway", network.IPAMConfig{Subnet: "198.18.0.0/29", Gateway: "198.18.0.1"}, 5},
		{"a range inside a subnet", network.IPAMConfig{Subnet: "198.18.0.0/24", IPRange: "198.18.0.64/30", Gateway: "198.18.0.1"}, 4},
		{"reserved addresses stay free", network.IPAMConfig{Subnet: "198.18.0.0/24", IPRange: "198.18.0.64/30", AuxAddress: map[string]string{"host": "198.18.0.65"}}, 3},
		{"a range outside its subnet is not believed", network.IPAMConfig{Subnet: "198.18.0.0/30", IPRange: "10.0.0.0/24"}, 2},
		{"two addresses, both usable", network.IPAMConfig{Subnet: "198.18.0.0/31"}, 2},
		{"IPv6", network.IPAMConfig{Subnet: "2001:db8::/64"}, 0},
		{"no subnet", network.IPAMConfig{}, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			taken := map[netip.Addr]bool{}
			for n := 0; ; n++ {
				a, ok := chooseAddress(row.c, taken, fmt.Sprint("web-", n))
				if !ok {
					break
				}
				if taken[a] || !netip.MustParsePrefix(row.c.Subnet).Contains(a) || a.String() == row.c.Gateway || a.String() == row.c.AuxAddress["host"] {
					t.Fatalf("chose %s, taken %v", a, taken)
				}
				taken[a] = true
			}
			if len(taken) != row.want {
				t.Errorf("%d addresses: %v, want %d", len(taken), taken, row.want)
			}
		})
	}
}

func TestAnAddressThatWasGivenUpIsNotTheNextOneGivenOut(t *testing.T) {
	c := network.IPAMConfig{Subnet: "198.18.0.0/24"}
	seen := map[netip.Addr]int{}
	for n := range 100 {
		a, ok := chooseAddress(c, nil, fmt.Sprint("web-", n))
		if !ok {
			t.Fatal("none")
		}
		seen[a]++
	}
	if len(seen) < 50 {
		t.Errorf("100 names chose only %d addresses", len(seen))
	}
}
