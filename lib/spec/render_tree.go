package spec

import (
	"strconv"
	"strings"
	"text/template/parse"
)

// instrument changes a parsed template in two ways. Each call of config and
// secret gets the number of its site as first argument, so that a missing key
// can be reported with its line. Each body that can run many times begins with a
// call of tick, which counts what the body costs: text/template itself has no
// way to stop a loop.
func (r *renderer) instrument(tree *parse.Tree) {
	const perCall = 100 // a call of a template costs stack too
	n := r.list(tree, tree.Root)
	r.prepend(tree.Root, perCall+n)
}

// list walks a list and returns how many nodes it has.
func (r *renderer) list(tree *parse.Tree, l *parse.ListNode) int {
	if l == nil {
		return 0
	}
	n := 1
	for _, node := range l.Nodes {
		n += r.node(tree, node)
	}
	return n
}

func (r *renderer) node(tree *parse.Tree, n parse.Node) int {
	switch n := n.(type) {
	case *parse.ActionNode:
		return r.pipe(tree, n.Pipe)
	case *parse.IfNode:
		return r.branch(tree, &n.BranchNode)
	case *parse.WithNode:
		return r.branch(tree, &n.BranchNode)
	case *parse.RangeNode:
		cost := r.branch(tree, &n.BranchNode)
		r.prepend(n.List, cost)
		return cost
	case *parse.TemplateNode:
		return r.pipe(tree, n.Pipe)
	case *parse.PipeNode:
		return r.pipe(tree, n)
	case *parse.ChainNode:
		return 1 + r.node(tree, n.Node)
	}
	return 1
}

func (r *renderer) branch(tree *parse.Tree, b *parse.BranchNode) int {
	return r.pipe(tree, b.Pipe) + r.list(tree, b.List) + r.list(tree, b.ElseList)
}

func (r *renderer) pipe(tree *parse.Tree, p *parse.PipeNode) int {
	if p == nil {
		return 1
	}
	n := 1
	for _, c := range p.Cmds {
		n++
		for _, arg := range c.Args {
			n += r.node(tree, arg)
		}
		if len(c.Args) == 0 {
			continue
		}
		if id, ok := c.Args[0].(*parse.IdentifierNode); ok && (id.Ident == "config" || id.Ident == "secret") {
			c.Args = append([]parse.Node{id, r.site(tree, c)}, c.Args[1:]...)
		}
	}
	return n
}

// site notes a call and returns its number as a node.
func (r *renderer) site(tree *parse.Tree, c *parse.CommandNode) parse.Node {
	s := site{}
	if len(c.Args) > 1 {
		if key, ok := c.Args[1].(*parse.StringNode); ok {
			s.key = key.Text
		}
	}
	location, _ := tree.ErrorContext(c)
	parts := strings.Split(location, ":")
	if len(parts) >= 3 {
		s.line, _ = strconv.Atoi(parts[len(parts)-2])
		s.col, _ = strconv.Atoi(parts[len(parts)-1])
	}
	r.sites = append(r.sites, s)
	return number(len(r.sites) - 1)
}

// prepend puts a call of tick in front of a list.
func (r *renderer) prepend(l *parse.ListNode, cost int) {
	if l == nil {
		return
	}
	tick := &parse.ActionNode{NodeType: parse.NodeAction, Pos: l.Pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: l.Pos, Cmds: []*parse.CommandNode{{
			NodeType: parse.NodeCommand, Pos: l.Pos, Args: []parse.Node{parse.NewIdentifier("tick").SetPos(l.Pos), number(cost)},
		}},
	}}
	l.Nodes = append([]parse.Node{tick}, l.Nodes...)
}

func number(n int) parse.Node {
	return &parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: int64(n), Text: strconv.Itoa(n)}
}
