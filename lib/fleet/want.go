package fleet

import "time"

// Want is what the planner wants of one node. A wish never says anything of
// services that it does not name: those are somebody else's.
type Want struct {
	Node     string      // not part of the value: the key has it
	Epoch    uint64      // of the leader that wrote it; grows with every change of leader
	Gen      uint64      // grows with every change of this document
	At       time.Time   //
	Services []Allotment // by name
	Index    uint64      // of the key, for check-and-set; 0: there is no key yet
}

// Newer reports whether w was written after a wish with this epoch and generation.
func (w Want) Newer(epoch, gen uint64) bool {
	return w.Epoch > epoch || w.Epoch == epoch && w.Gen > gen
}

// Allotment is how much of one service a node should run.
type Allotment struct {
	Name   string `json:"name"`             // app/service
	Unit   string `json:"unit"`             // workers | instances
	Count  int    `json:"count"`            // 0: the service leaves the node
	Room   int    `json:"room,omitempty"`   // workers that the node may add by itself when requests wait (fast lane)
	Exact  bool   `json:"exact,omitempty"`  // never more than Count, and only under the node's lease
	Reason string `json:"reason,omitempty"` // one line, for people
}

// Have is what a node reached of its wish.
type Have struct {
	Node     string    // not part of the value: the key has it
	Epoch    uint64    // of the wish that it is about
	Gen      uint64    //
	At       time.Time //
	Services []Reached // by name
}

// Reached is one service of a node's wish.
type Reached struct {
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Want     int    `json:"want"`
	Ready    int    `json:"ready"`
	Starting int    `json:"starting,omitempty"`
	Most     int    `json:"most,omitempty"`  // of a service that runs exactly so often: no more containers than this run, or may come to run, under this wish
	Error    string `json:"error,omitempty"` // why it is not there, bounded
}

// Leader is who plans for the fleet.
type Leader struct {
	Epoch uint64    `json:"epoch"`
	ID    string    `json:"id"`   // of the process
	Node  string    `json:"node"` // machine
	URL   string    `json:"url"`  // of its page; "" when it serves none
	Since time.Time `json:"since"`
}

// Written is what became of documents that were written by check-and-set.
type Written struct {
	Index     map[string]uint64 // by name: their new index
	Conflicts []string          // names of those that somebody else had changed
}
