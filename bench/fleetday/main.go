// Command fleetday lives through simulated days of a fleet of 500 services on
// 32 nodes in five pools and a free one, with the planner's own decisions, and
// prints the figures of docs/placement.md. The same seed gives the same day.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	seeds := flag.Int("seeds", 3, "days with seeds 1 to `N`")
	tick := flag.Duration("tick", 15*time.Second, "time between two passes, at least a worker's start-up of 15s")
	hours := flag.Int("hours", 24, "length of a day, up to 24")
	flag.Parse()
	if *seeds < 1 || *tick < startUp || *tick > time.Hour || *hours < 1 || *hours > 24 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	fmt.Println("| seed | node-hours | / bound | / bound without surviving | workers | moves/h | worst hour | borrowed/returned | vip served after | over SLO | after a loss, service-min | loss breaks SLO | | short passes/vip | pass mean / max |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for seed := range *seeds {
		run(uint64(seed+1), *tick, *hours, time.Now).write(os.Stdout, uint64(seed+1))
	}
}
