//go:build !race

package hand_test

// modelSeeds is how many worlds the model plays.
const modelSeeds = 10
