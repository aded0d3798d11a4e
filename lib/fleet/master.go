package fleet

// Master is the process manager in a running container, as it was found: what
// it is, what it can do, and what speaks against sending it a signal.
type Master struct {
	PID     int      // of the node; 0: not found
	Started uint64   // start time in the kernel's clock ticks: with the pid it names one process for ever
	Version string   // e.g. 20.1.0; "" when not known
	Workers []Worker // sorted by pid

	Preload   bool   // it holds the application itself: new workers are forks of the old code
	Lazy      bool   // uwsgi: each worker loads the application
	Chain     Chain  // uwsgi: how it is told to replace one worker after the other
	KeepAlive bool   // it keeps idle connections and closes them when workers change
	Deaf      string // why the signal does not make it reload; "" when it does

	Unsafe []string // why it must not be told to reload, each a sentence
	Broken []string // what it said when the new code was loaded in a process beside it; nil when it loads
	Tried  bool     // whether that was tried
}

// Worker is one worker process.
type Worker struct {
	PID     int
	Started uint64 // as Master.Started
	Memory  int64  // bytes that are its own alone
}

// Chain is the way to tell uwsgi to replace its workers one by one. The zero value: there is none.
type Chain struct {
	FIFO  string // path in the container of master-fifo
	Touch string // path in the container of touch-chain-reload
}

// Known reports whether there is such a way.
func (c Chain) Known() bool { return c.FIFO != "" || c.Touch != "" }

// Serving returns the workers by what names a process for ever.
func (m Master) Serving() map[Worker]bool {
	out := make(map[Worker]bool, len(m.Workers))
	for _, w := range m.Workers {
		out[Worker{PID: w.PID, Started: w.Started}] = true
	}
	return out
}

// Served is what a server tells of its own work: the stats of uwsgi.
type Served struct {
	Waiting int            // connections that no worker has taken
	Workers []ServedWorker // by ID
}

// ServedWorker is one place for a worker. Its counters go on when another process takes the place.
type ServedWorker struct {
	ID       int
	PID      int     // in its own namespace; 0: nobody has the place
	Ready    bool    // it takes requests
	Slots    int     // requests that it can work on at a time
	Active   int     // that it works on
	Requests float64 // completed
	Seconds  float64 // of those
}
