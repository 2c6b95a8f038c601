package mediatemple

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"regexp"
	"strconv"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// mediaType is the format of requests and responses. The API also supports XML.
const mediaType = "application/json"

// Error codes: https://mediatemple.net/community/products/all/204645330/parsing-api-responses and the pages of the two
// operations. The list is not exhaustive.
const (
	codeInvalidPassword   = "InvalidPassword"
	codeInvalidService    = "InvalidService"
	codeOperationPending  = "OperationPending"
	codePleskNotAvailable = "PleskNotAvailable"
)

var (
	// errorCodes matches letters only, like all known codes. No password that meets the rules looks like one, but a key
	// may.
	errorCodes = regexp.MustCompile(`^[A-Z][A-Za-z]{0,39}$`)

	wholeNumbers = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)
)

// envelope is the API's report about a request:
//
//	{"response":{"statusCode":202,"timeStamp":1284609174311,"date":"…","errors":[],"custom":[]}}
type envelope struct {
	// own: the API itself sent the response, because its body is an envelope and repeats the HTTP status. Otherwise the
	// other fields are empty.
	own bool
	// failed: there is at least one error.
	failed bool
	// code is the code of the errors, or "" if they have none that can be shown, or several.
	code string
}

// parseEnvelope parses a response. It never fails: a response that is not an envelope, or contradicts itself, is not own.
func parseEnvelope(response *transport.Response) envelope {
	if !isJSON(response) {
		return envelope{}
	}
	body, ok := parseObject(response.Body)
	if !ok {
		return envelope{}
	}
	fields, ok := parseObject(body["response"])
	if !ok || wholeNumber(fields["statusCode"]) != strconv.Itoa(response.Status) {
		return envelope{}
	}
	out := envelope{own: true}
	if raw := fields["errors"]; raw == nil || string(raw) == "null" {
		return out // only these count as an empty list
	}
	list, ok := parseList(fields["errors"])
	if !ok {
		return envelope{}
	}
	for i, item := range list {
		entry, ok := parseObject(item)
		if !ok {
			return envelope{}
		}
		code := errorCode(entry["errorCode"])
		if response.Echoes(code) {
			code = ""
		}
		if i > 0 && code != out.code {
			code = ""
		}
		out.failed, out.code = true, code
	}
	return out
}

// isListOfServices reports whether a response is the list of the account's service IDs: {"serviceIds":[556,…]}, or a bare
// list if the root element is disabled. The list may be empty.
func isListOfServices(response *transport.Response) bool {
	if !isJSON(response) {
		return false
	}
	raw := json.RawMessage(response.Body)
	if object, ok := parseObject(raw); ok {
		if _, both := object["response"]; both {
			return false
		}
		raw = object["serviceIds"]
	}
	list, ok := parseList(raw)
	if !ok {
		return false
	}
	for _, id := range list {
		if wholeNumber(id) == "" {
			return false
		}
	}
	return true
}

// serviceIn returns the ID of the service that a response describes: {"service":{"id":556,…}}, or a bare object if the
// root element is disabled. It returns "" if the response describes none.
func serviceIn(response *transport.Response) string {
	if !isJSON(response) {
		return ""
	}
	object, ok := parseObject(response.Body)
	if _, both := object["response"]; !ok || both {
		return ""
	}
	if inner, wrapped := object["service"]; wrapped {
		if object, ok = parseObject(inner); !ok {
			return ""
		}
	}
	return wholeNumber(object["id"])
}

// isJSON reports whether a response has the requested format. It is assumed that the API sets this Content-Type;
// checking a connection shows it, before any change is sent.
func isJSON(response *transport.Response) bool {
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return err == nil && kind == mediaType
}

// parseObject parses one JSON object and nothing else. An object with a duplicate name is rejected as ambiguous. Names
// are case-sensitive.
func parseObject(raw []byte) (map[string]json.RawMessage, bool) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, false
	}
	object := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, false
		}
		if _, twice := object[name]; twice {
			return nil, false
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, false
		}
		object[name] = value
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return nil, false
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return object, true
}

// parseList parses one JSON list and nothing else; null is not a list.
func parseList(raw []byte) ([]json.RawMessage, bool) {
	var list []json.RawMessage
	err := json.Unmarshal(raw, &list)
	return list, err == nil && list != nil
}

// wholeNumber returns a number without sign, fraction and exponent, and "" for anything else. The API encodes some
// numbers as strings.
func wholeNumber(raw json.RawMessage) string {
	digits := string(raw)
	if text, ok := text(raw); ok {
		digits = text
	}
	if !wholeNumbers.MatchString(digits) {
		return ""
	}
	return digits
}

func errorCode(raw json.RawMessage) string {
	code, ok := text(raw)
	if !ok || !errorCodes.MatchString(code) {
		return ""
	}
	return code
}

func text(raw json.RawMessage) (string, bool) {
	var out *string
	if json.Unmarshal(raw, &out) != nil || out == nil {
		return "", false
	}
	return *out, true
}
