//go:build !race

package timetable

// modelSeeds is how many worlds the model plays of each kind.
const modelSeeds = 8
