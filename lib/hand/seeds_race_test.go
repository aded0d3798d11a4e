//go:build race

package hand_test

// modelSeeds is how many worlds the model plays. Ten times slower, the race detector sees
// in two of them what there is to see; all are played without it, by `make unit` and `make test`.
const modelSeeds = 2
