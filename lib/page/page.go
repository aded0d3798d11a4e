// Package page draws the planner's page: the fleet, its services and why each
// has the size it has. What it shows is given to it; it asks nobody.
//
// The page is made on the server, whole, and works without JavaScript; a few
// lines of that fetch it again every five seconds. Every text of others is escaped.
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed page.html style.css live.js
var files embed.FS

// View is everything that a page shows.
type View struct {
	Title    string
	At       time.Time // of the last cycle; zero: there was none yet
	Now      time.Time
	Leading  bool
	Leader   string   // the node of who leads; "": nobody is known to
	Failed   string   // why the last cycle failed; "": it did not
	Took     string   // what the last cycle took
	Alarms   []Alarm  //
	Frozen   []Frozen //
	Services []Service
	Pools    []Pool
	One      *Service // the service that the page is about; nil: the whole fleet
}

// Alarm is something that a person should know now.
type Alarm struct{ Service, Code, Since, Words string }

// Frozen is a freeze in force.
type Frozen struct{ What, Mode, Ends, Who, Why string }

// Service is one service.
type Service struct {
	Name, Pool, Reason, Words, Held string
	Size, Ready, Wish               int
	Demand                          float64 // Erlangs
	Alarm                           bool
	Nodes                           []Seat
	Events                          []Event // newest first
	Points                          []Point // oldest first
	Proposals                       []Proposal
}

// Seat is a service on one node.
type Seat struct {
	Node  string
	Count int
}

// Proposal is what one source wants, the one that won first.
type Proposal struct{ Source, Size, Why string }

// Event is a decision that changed a size.
type Event struct {
	At       time.Time
	From, To int
	Reason   string
	Words    string
}

// Point is a service at one cycle.
type Point struct {
	At                int64 // unix seconds
	Size, Ready, Wish int
	Demand            float64
}

// Pool is a pool and its nodes.
type Pool struct {
	Name, Class string
	Nodes       []Node
}

// Node is one node.
type Node struct {
	Name, Zone, State string // state: alive | silent | gone, with what else is true of it
	Bad               bool
	Load              string // e.g. 42 %
	Told              int    // services that it is told to run
}

// Draw writes a page.
func Draw(w io.Writer, v View) error {
	t, err := template.New("page.html").Funcs(template.FuncMap{
		"ago": func(at time.Time) string { return ago(v.Now.Sub(at)) }, "chart": func(s Service) template.HTML { return Chart(s, 720, 220) },
		"spark": func(s Service) template.HTML { return Spark(s, 160, 28) }, "clock": clock, "num": num, "style": asset("style.css"), "live": asset("live.js"),
	}).ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	return t.Execute(w, v)
}

// asset returns what gives the text of a file, which goes into the page: it
// needs no second request and no exception from its content policy but a hash.
func asset(name string) func() (any, error) {
	return func() (any, error) {
		text, err := files.ReadFile(name)
		if name == "style.css" {
			return template.CSS(text), err //nolint:gosec // our own file
		}
		return template.JS(text), err //nolint:gosec // our own file
	}
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 MST") }

func num(x float64) string { return fmt.Sprintf("%.1f", x) }

func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in " + ago(-d)
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
