package plesk

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"vault-plugin-secrets-hosting/backend/provider"
)

// errNotAPacket reports a response that is not one complete Plesk packet. It gives no details, because the response may
// contain secrets.
var errNotAPacket = errors.New("the response is not a Plesk packet")

// errNoResult reports a packet whose operation has no result. Plesk answers so if a filter matches nothing.
var errNoResult = errors.New("the Plesk packet has no result of the operation")

const (
	maxDepth    = 32
	maxElements = 10_000
)

// result is the outcome of a packet: the content of the operation's result element, or of the system element.
type result struct {
	// system: Plesk refused the packet as a whole and did not start the operation
	// (https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/creating-client-software/handling-errors.28729).
	system bool
	ok     bool
	// code is the errcode, in digits; "" if there is none.
	code string
	// node is the element itself, to access its other content.
	node *element
}

// element is an XML element of a response. It omits attributes: Plesk uses them only for the protocol version.
type element struct {
	provider.Hidden
	name     string
	text     []byte
	children []*element
}

// parseResponse parses the response to a packet with one operation of the operator "server". It accepts exactly one
// packet with either a system element or exactly one result of that operation, and no document type: any other response
// proves nothing.
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
		switch {
		case !blank(first, first.children[0]):
		case len(results) == 0:
			return result{}, errNoResult
		case len(results) == 1 && results[0].name == "result":
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
	} else if len(node.named("errcode")) != 0 {
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

// only returns the text of the single child with the given name, which must have no children itself.
func (e *element) only(name string) (string, bool) {
	found := e.named(name)
	if len(found) != 1 || len(found[0].children) != 0 {
		return "", false
	}
	return string(bytes.TrimSpace(found[0].text)), true
}

// named returns the children with the given name.
func (e *element) named(name string) (found []*element) {
	for _, child := range e.children {
		if child.name == name {
			found = append(found, child)
		}
	}
	return found
}

// blank reports whether the elements have no text of their own.
func blank(elements ...*element) bool {
	for _, e := range elements {
		if len(bytes.TrimSpace(e.text)) != 0 {
			return false
		}
	}
	return true
}

// parseTree parses one document. Go's decoder expands only the five predefined entities and accepts only UTF-8; document
// types and processing instructions are rejected here.
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
