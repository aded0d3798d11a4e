package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a document. A settings file of a person stays far below them.
const (
	MaxBytes  = 64 << 10
	MaxDepth  = 20
	maxTokens = 16_000 // words, punctuation and comments: the parser's time grows with their square
)

// Parse reads the one document in text. The value is of kind Missing when
// there are problems that leave nothing to look at: a syntax error, something
// refused, or an empty document. It never panics, whatever text is.
func Parse(text []byte) (v Value, problems []Problem) {
	// The YAML library is the one part here that is not ours: a panic in it is
	// reported as an unreadable document, since text may come from anybody.
	defer func() {
		if r := recover(); r != nil {
			v, problems = Value{}, []Problem{{Line: 1, Col: 1, Msg: fmt.Sprintf("unreadable YAML: %v", r)}}
		}
	}()
	if p := checkText(text); p != nil {
		return Value{}, []Problem{*p}
	}
	// The lexer counts a comment's \r\n as two lines.
	tokens := lexer.Tokenize(strings.ReplaceAll(strings.TrimPrefix(string(text), "\ufeff"), "\r\n", "\n"))
	if p := refused(tokens); len(p) > 0 {
		return Value{}, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return Value{}, []Problem{syntax(err)}
	}
	var body ast.Node
	for _, d := range file.Docs {
		if body != nil && d.Body != nil {
			return Value{}, []Problem{at(d.Body.GetToken(), "expected one document, found a second one")}
		}
		if d.Body != nil {
			body = d.Body
		}
	}
	if body == nil {
		return Value{}, []Problem{{Line: 1, Col: 1, Msg: "the document is empty"}}
	}
	c := converter{}
	v = c.value(body, "", 0)
	return v, c.problems
}

func checkText(text []byte) *Problem {
	if len(text) > MaxBytes {
		return &Problem{Line: 1, Col: 1, Msg: fmt.Sprintf("the document has %d bytes, at most %d are read", len(text), MaxBytes)}
	}
	line := 1
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return &Problem{Line: line, Msg: "expected UTF-8 text"}
		case r == '\r' && i+1 < len(text) && text[i+1] == '\n':
		case r == '\n':
			line++
		case r < ' ' && r != '\t', r == 0x7f, r == 0x85, r == 0x2028, r == 0x2029:
			return &Problem{Line: line, Msg: fmt.Sprintf("expected printable text, found the control character %U", r)}
		}
		i += n
	}
	return nil
}

// refused looks at the tokens before the parser does: the parser's time grows
// with the square of the nesting, so depth must be bounded first. Each thing
// that is not supported is named once, at its first place.
func refused(tokens token.Tokens) (out []Problem) {
	if len(tokens) > maxTokens {
		return []Problem{{Line: 1, Col: 1, Msg: fmt.Sprintf("the document has %d words and signs, at most %d are read", len(tokens), maxTokens)}}
	}
	depth, dashes, dashLine, content := 0, 0, 0, false
	named := map[token.Type]bool{}
	for _, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType:
			if content {
				return append(out, at(t, "expected one document, found a second one"))
			}
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			if t.Position.Line != dashLine {
				dashes, dashLine = 0, t.Position.Line
			}
			dashes++
		}
		if msg := unsupported(t.Type); msg != "" && !named[t.Type] {
			named[t.Type] = true
			out = append(out, at(t, msg))
			if t.Type == token.DirectiveType { // what follows is not what it seems
				return out
			}
		}
		if depth > MaxDepth || dashes > MaxDepth {
			return append(out, at(t, fmt.Sprintf("nested more than %d deep", MaxDepth)))
		}
		content = content || t.Type != token.CommentType && t.Type != token.DocumentHeaderType
	}
	return out
}

// unsupported says why a token is refused, "" when it is not.
func unsupported(t token.Type) string {
	switch t {
	case token.AnchorType:
		return "anchors (&) are not supported: write the value out, or put quotes around a text that begins with &"
	case token.AliasType:
		return "aliases (*) are not supported: write the value out, or put quotes around a text that begins with *"
	case token.TagType:
		return "tags (!) are not supported: put quotes around a text that begins with !"
	case token.MergeKeyType:
		return "merge keys (<<) are not supported: write the keys out"
	case token.MappingKeyType:
		return "keys written with ? are not supported"
	case token.DirectiveType:
		return "directives (%) are not supported"
	}
	return ""
}

// syntax turns the library's error into a problem, without the excerpt it carries.
func syntax(err error) Problem {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return at(e.GetToken(), "not valid YAML: "+e.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return Problem{Line: 1, Col: 1, Msg: "not valid YAML: " + first}
}

func at(t *token.Token, msg string) Problem {
	p := Problem{Msg: msg}
	if t != nil && t.Position != nil {
		p.Line, p.Col = t.Position.Line, t.Position.Column
	}
	return p
}

// converter turns the library's tree into values.
type converter struct{ problems []Problem }

func (c *converter) value(n ast.Node, path string, depth int) Value {
	v := Value{Path: path}
	if n == nil {
		v.Kind = Null
		return v
	}
	place := at(n.GetToken(), "")
	v.Line, v.Col = place.Line, place.Col
	if depth > MaxDepth {
		c.problems = append(c.problems, at(n.GetToken(), fmt.Sprintf("nested more than %d deep", MaxDepth)))
		v.Kind = Null
		return v
	}
	switch n := n.(type) {
	case *ast.NullNode:
		v.Kind = Null
	case *ast.BoolNode:
		v.Kind, v.Text = Bool, n.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		v.Kind, v.Text = Number, n.GetToken().Value
	case *ast.StringNode:
		v.Kind, v.Text = Text, n.Value
	case *ast.LiteralNode:
		v.Kind, v.Text = Text, n.Value.Value
	case *ast.SequenceNode:
		v.Kind = List
		for i, item0 := range n.Values {
			v.Items = append(v.Items, c.value(item0, item(path, i), depth+1))
		}
	case *ast.MappingNode:
		v.Kind = Map
		c.entries(&v, n.Values, depth)
	case *ast.MappingValueNode:
		v.Kind = Map
		c.entries(&v, []*ast.MappingValueNode{n}, depth)
	default:
		c.problems = append(c.problems, at(n.GetToken(), fmt.Sprintf("%s is not supported here", strings.ToLower(n.Type().String()))))
		v.Kind = Null
	}
	return v
}

func (c *converter) entries(v *Value, nodes []*ast.MappingValueNode, depth int) {
	for i, n := range nodes {
		key := Value{Kind: Text}
		t := n.Key.GetToken()
		place := at(t, "")
		key.Line, key.Col = place.Line, place.Col
		if s, ok := n.Key.(*ast.StringNode); ok {
			key.Text = s.Value
		} else if t != nil {
			key.Text = t.Value
		}
		key.Path = child(v.Path, key.Text)
		val := c.value(n.Value, key.Path, depth+1)
		if val.Kind == Map || val.Kind == List || val.Line == 0 {
			val.Line, val.Col = key.Line, key.Col
		}
		if i == 0 && v.Path == "" {
			v.Line, v.Col = key.Line, key.Col
		}
		v.Entries = append(v.Entries, Entry{Key: key, Value: val})
	}
}
