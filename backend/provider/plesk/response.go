package plesk

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// errNotAPacket is an answer that is not one whole packet as Plesk writes them. It says nothing more, since the answer
// may hold anything.
var errNotAPacket = errors.New("the answer is not a Plesk packet")

const (
	maxDepth    = 32
	maxElements = 10_000
)

// result is the outcome of a packet: what stands in a result of the operation, or in system.
type result struct {
	// system: Plesk refused the packet as a whole and did not start the operation
	// (https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/creating-client-software/handling-errors.28729).
	system bool
	ok     bool
	// code is the errcode, in digits; "" if there is none.
	code string
	// node is the element, for what else is in it.
	node *element
}

// element is an element of an answer. Attributes are left out: Plesk puts nothing in them but the protocol's version.
type element struct {
	transport.Hidden
	name     string
	text     []byte
	children []*element
}

// parseResponse reads the answer to a packet with one operation of the operator "server". It takes exactly one packet
// with either a system element or exactly one result of that operation, and no document type: whatever else an answer
// is, it proves nothing.
func parseResponse(body []byte, operation string) (result, error) {
	root, err := parseTree(body)
	if err != nil {
		return result{}, err
	}
	if root.name != "packet" || !blank(root) || len(root.children) == 0 || len(root.children) > 2 {
		return result{}, errNotAPacket
	}
	// Debug output may follow, see ResponsePacketType in Plesk's agent_output.xsd.
	if len(root.children) == 2 && root.children[1].name != "output" {
		return result{}, errNotAPacket
	}
	switch first := root.children[0]; first.name {
	case "system":
		return parseResult(first, true)
	case "server":
		if len(first.children) != 1 || first.children[0].name != operation {
			return result{}, errNotAPacket
		}
		results := first.children[0].children
		if len(results) != 1 || results[0].name != "result" {
			return result{}, errNotAPacket
		}
		if blank(first, first.children[0]) {
			return parseResult(results[0], false)
		}
	}
	return result{}, errNotAPacket
}

func parseResult(node *element, system bool) (result, error) {
	out := result{system: system, node: node}
	status, ok := node.only("status")
	if !ok || !blank(node) {
		return result{}, errNotAPacket
	}
	if code, has := node.only("errcode"); has {
		out.code = code
	} else if node.count("errcode") != 0 {
		return result{}, errNotAPacket
	}
	if len(out.code) > 10 || strings.Trim(out.code, "0123456789") != "" {
		return result{}, errNotAPacket
	}
	switch {
	case status == "ok" && out.code == "":
		out.ok = true
	case status != "error":
		return result{}, errNotAPacket
	}
	return out, nil
}

// only returns the text of the one child with that name, which has no children itself.
func (e *element) only(name string) (string, bool) {
	var text string
	for _, child := range e.children {
		if child.name == name {
			if len(child.children) != 0 {
				return "", false
			}
			text = string(bytes.TrimSpace(child.text))
		}
	}
	return text, e.count(name) == 1
}

func (e *element) count(name string) int {
	n := 0
	for _, child := range e.children {
		if child.name == name {
			n++
		}
	}
	return n
}

// blank tells whether the elements have no text of their own.
func blank(elements ...*element) bool {
	for _, e := range elements {
		if len(bytes.TrimSpace(e.text)) != 0 {
			return false
		}
	}
	return true
}

// parseTree reads one document. Go's decoder expands no entities but XML's own five, and takes no encoding but UTF-8;
// document types and processing instructions are refused here.
func parseTree(body []byte) (*element, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(body) {
		return nil, errNotAPacket
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	var (
		root  *element
		open  []*element
		count int
		first = true
	)
	for ; ; first = false {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) && root != nil && len(open) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, errNotAPacket
		}
		switch t := token.(type) {
		case xml.StartElement:
			count++
			if t.Name.Space != "" || len(open) == maxDepth || count > maxElements || (root != nil && len(open) == 0) {
				return nil, errNotAPacket
			}
			child := &element{name: t.Name.Local}
			if len(open) == 0 {
				root = child
			} else {
				parent := open[len(open)-1]
				parent.children = append(parent.children, child)
			}
			open = append(open, child)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				top := open[len(open)-1]
				top.text = append(top.text, t...)
			} else if len(bytes.TrimSpace(t)) != 0 {
				return nil, errNotAPacket
			}
		case xml.Comment:
		case xml.ProcInst:
			if t.Target != "xml" || !first {
				return nil, errNotAPacket
			}
		default:
			return nil, errNotAPacket
		}
	}
}
