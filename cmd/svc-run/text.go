package main

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

func hostPort(address string, port int) string {
	switch {
	case address == "":
		return ""
	case port == 0:
		return address
	}
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// join puts two remarks together.
func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}

// cut shortens text to at most n characters.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// count renders e.g. "1 error", "2 errors".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
