package plesk

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// errParse corresponds to Plesk's code 1014: parser error, wrong XML format.
var errParse = errors.New("wrong format of the XML request")

// node is an element of a request.
type node struct {
	name     string
	attrs    []xml.Attr
	children []*node
	text     string // all character data, as written
}

// child returns the first child with a name, or nil.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// value returns the text of the first child with a name, after white-space
// collapse, and whether there is one.
func (n *node) value(name string) (string, bool) {
	c := n.child(name)
	if c == nil {
		return "", false
	}
	return collapse(c.text), true
}

// collapse implements the white-space collapse of XML Schema, which Plesk's string
// type prescribes: it removes leading and trailing white space and replaces inner
// runs by a single space. Other Unicode spaces are kept.
func collapse(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }), " ")
}

// maxDepth is greater than the depth of any valid packet.
const maxDepth = 32

// parse parses an XML document. It refuses what a strict parser without DTD
// support refuses: document types, encodings other than UTF-8, processing
// instructions, duplicate attributes, text outside the root element, and more than
// one root element.
func parse(body []byte) (*node, error) {
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: not UTF-8", errParse)
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	var root *node
	var stack []*node
	for {
		offset := decoder.InputOffset()
		token, err := decoder.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: ill-formed", errParse) // the parser's own error may quote the password
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: document types are not accepted", errParse)
		case xml.ProcInst:
			if t.Target != "xml" || offset != 0 {
				return nil, fmt.Errorf("%w: processing instruction", errParse)
			}
		case xml.StartElement:
			n, err := element(t)
			switch {
			case err != nil:
				return nil, err
			case len(stack) > 0:
				stack[len(stack)-1].children = append(stack[len(stack)-1].children, n)
			case root != nil:
				return nil, fmt.Errorf("%w: more than one root element", errParse)
			default:
				root = n
			}
			if stack = append(stack, n); len(stack) > maxDepth {
				return nil, fmt.Errorf("%w: too deep", errParse)
			}
		case xml.EndElement:
			if len(stack) == 0 || t.Name.Space != "" || stack[len(stack)-1].name != t.Name.Local {
				return nil, fmt.Errorf("%w: unexpected end tag", errParse)
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			} else if collapse(string(t)) != "" {
				return nil, fmt.Errorf("%w: text outside the root element", errParse)
			}
		}
	}
	if root == nil || len(stack) > 0 {
		return nil, fmt.Errorf("%w: unexpected end", errParse)
	}
	return root, nil
}

// element converts a start tag to a node. The schema has no namespaces.
func element(t xml.StartElement) (*node, error) {
	if t.Name.Space != "" {
		return nil, fmt.Errorf("%w: namespace prefix", errParse)
	}
	seen := map[xml.Name]bool{}
	for _, a := range t.Attr {
		if seen[a.Name] {
			return nil, fmt.Errorf("%w: duplicate attribute", errParse)
		}
		seen[a.Name] = true
	}
	return &node{name: t.Name.Local, attrs: t.Copy().Attr}, nil
}

// A shape is the content model of an element. It supports what Plesk's schemas of
// protocol 1.6.6.0 use for the simulated operations.
type shape struct {
	model model
	items []item
	value func(string) bool // for the model text: checks the collapsed value
	attrs []string          // allowed attributes
}

type model int

const (
	empty    model = iota // neither text nor elements
	text                  // text only
	sequence              // the items in this order
	all                   // the items in any order, each at most once
	choice                // one or more of the items, in any order
)

type item struct {
	name     string
	min, max int // max 0: unbounded
	shape    *shape
}

// match checks a node against a shape.
func (s *shape) match(n *node) error {
	for _, a := range n.attrs {
		if a.Name.Space != "" || !slices.Contains(s.attrs, a.Name.Local) {
			return fmt.Errorf("%w: element %s cannot have the attribute %s", errParse, n.name, a.Name.Local)
		}
	}
	if s.model == text {
		if len(n.children) > 0 {
			return fmt.Errorf("%w: element %s cannot hold elements", errParse, n.name)
		}
		if s.value != nil && !s.value(collapse(n.text)) {
			return fmt.Errorf("%w: bad value of element %s", errParse, n.name)
		}
		return nil
	}
	if collapse(n.text) != "" || (s.model == empty && n.text != "") {
		return fmt.Errorf("%w: element %s cannot hold text", errParse, n.name)
	}
	return s.matchChildren(n)
}

func (s *shape) matchChildren(n *node) error {
	counts := make([]int, len(s.items))
	position := 0
	for _, c := range n.children {
		i := s.find(c.name)
		if i < 0 {
			return fmt.Errorf("%w: element %s is not expected in %s", errParse, c.name, n.name)
		}
		if s.model == sequence && i < position {
			return fmt.Errorf("%w: element %s is out of order in %s", errParse, c.name, n.name)
		}
		position = i
		counts[i]++
		if s.items[i].max > 0 && counts[i] > s.items[i].max {
			return fmt.Errorf("%w: too many %s elements in %s", errParse, c.name, n.name)
		}
		if err := s.items[i].shape.match(c); err != nil {
			return err
		}
	}
	if s.model == choice && len(n.children) == 0 {
		return fmt.Errorf("%w: element %s is empty", errParse, n.name)
	}
	for i, it := range s.items {
		if counts[i] < it.min {
			return fmt.Errorf("%w: element %s is missing in %s", errParse, it.name, n.name)
		}
	}
	return nil
}

func (s *shape) find(name string) int {
	for i, it := range s.items {
		if it.name == name {
			return i
		}
	}
	return -1
}

var (
	// emailPattern and the lengths 3 and 255 are those of the schema's emailType.
	emailPattern = regexp.MustCompile(`^[\-\+\p{L}\p{N}\._]*@([\p{L}\p{N}][\-\p{L}\p{N}]*\.)*[\p{L}\p{N}][\-\p{L}\p{N}]*\.?$`)

	anyText   = &shape{model: text}
	nothing   = &shape{model: empty}
	emailText = &shape{model: text, value: func(s string) bool {
		n := utf8.RuneCountInString(s)
		return n >= 3 && n <= 255 && emailPattern.MatchString(s)
	}}
	boolText  = &shape{model: text, value: func(s string) bool { return slices.Contains([]string{"true", "false", "1", "0"}, s) }}
	adminText = &shape{model: text, value: func(s string) bool { n := utf8.RuneCountInString(s); return n >= 5 && n <= 255 }}

	aliasFilter = &shape{model: sequence, items: []item{{"login", 1, 0, anyText}}}
	aliasData   = &shape{model: all, items: []item{
		{"login", 0, 1, anyText}, {"password", 0, 1, anyText}, {"email", 0, 1, emailText},
		{"contact", 0, 1, anyText}, {"comment", 0, 1, anyText}, {"status", 0, 1, boolText},
	}}
	keyFilter = &shape{model: sequence, items: []item{{"filter", 1, 1, &shape{model: sequence, items: []item{{"key", 0, 0, anyText}}}}}}

	serverShape = &shape{model: choice, items: []item{
		{"get_protos", 0, 0, nothing},
		{"get", 0, 0, &shape{model: sequence, items: []item{{"gen_info", 0, 1, nothing}}}},
		{"set", 0, 0, &shape{model: all, items: []item{{"password", 0, 1, adminText}}}},
		{"add-admin-alias", 0, 0, &shape{model: sequence, items: []item{{"data", 1, 1, aliasData}}}},
		{"set-admin-alias", 0, 0, &shape{model: sequence, items: []item{{"filter", 1, 1, aliasFilter}, {"data", 1, 1, aliasData}}}},
		{"del-admin-alias", 0, 0, &shape{model: sequence, items: []item{{"filter", 1, 1, aliasFilter}}}},
	}}
	secretKeyShape = &shape{model: choice, items: []item{
		{"create", 0, 0, &shape{model: sequence, items: []item{{"ip_address", 0, 1, anyText}, {"description", 0, 1, anyText}, {"login", 0, 1, anyText}}}},
		{"get_info", 0, 0, keyFilter},
		{"delete", 0, 0, keyFilter},
	}}
	packetShape = &shape{model: choice, attrs: []string{"version"}, items: []item{
		{"server", 0, 0, serverShape}, {"secret_key", 0, 0, secretKeyShape},
	}}
)

// validate checks that a document is a packet of simulated operations.
func validate(root *node) error {
	if root.name != "packet" {
		return fmt.Errorf("%w: the root element is not packet", errParse)
	}
	return packetShape.match(root)
}
