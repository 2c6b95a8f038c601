package huaweicloud

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Envelope is an error of Huawei Cloud, in any of the forms that its services use.
type Envelope struct {
	// Code is the error code ("DCS.4961", "APIGW.0301"), or "" if there is none that can be shown.
	Code string
	// RequestID identifies the call to Huawei's support. It may be set without an error.
	RequestID string
	// Refusal reports whether the response is an error in a known form, with or without a code.
	Refusal bool
	// Error reports whether the response contains an error, in a known form or a malformed one: it is not a success.
	Error bool
}

// Prefix returns the service of the code: "DCS" for "DCS.4961", and "APIGW" for both names of the gateway.
func (e Envelope) Prefix() string {
	prefix, _, found := strings.Cut(e.Code, ".")
	switch {
	case !found:
		return ""
	case prefix == "APIG":
		// The gateway's name in its own documentation and in older regions.
		return "APIGW"
	default:
		return prefix
	}
}

var serviceCodes = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,15}\.[0-9]{1,8}$`)

// nativeForms are errors of the underlying OpenStack services: {"badRequest":{"code":400,"message":"…"}}.
var nativeForms = []string{
	"badRequest", "unauthorized", "forbidden", "itemNotFound", "conflictingRequest", "overLimit", "computeFault",
}

// errorFields are the fields of all error forms.
var errorFields = append([]string{"error_code", "error"}, nativeForms...)

// ParseEnvelope parses a response. It never fails: a response in no known form has the zero Envelope, except for the
// request ID from the header.
//
// The forms are {"error_code":"DCS.4961",…} of regional services and the gateway, {"error":{"code":401,…}} of IAM with
// the code as a number or a string, and the native ones.
func ParseEnvelope(response *transport.Response) Envelope {
	object, _ := ParseObject(response.Body)
	envelope := Envelope{RequestID: cmp.Or(
		response.RequestID(response.Header.Get("X-Request-Id")), response.RequestID(response.Header.Get("X-IAM-Trace-Id")),
		response.RequestID(object.Text("request_id")),
	)}
	envelope.Error = slices.ContainsFunc(errorFields, object.Has)
	switch {
	case object.Text("error_code") != "":
		envelope.Refusal = true
		envelope.Code = serviceCode(response, object.Text("error_code"))
	case object.Object("error") != nil:
		nested := object.Object("error")
		envelope.Refusal = nested.Text("code") != "" || nested.Text("message") != ""
		envelope.Code = serviceCode(response, nested.Text("code"))
	default:
		for _, name := range nativeForms {
			if object.Object(name) != nil {
				envelope.Refusal = true
			}
		}
	}
	return envelope
}

// serviceCode returns text if it is an error code, else "". Codes that only repeat the status (401) are dropped, and so
// are echoes of the request: a password may look like a code.
func serviceCode(response *transport.Response, text string) string {
	if serviceCodes.MatchString(text) && !response.Echoes(text) {
		return text
	}
	return ""
}

// Object is a JSON object of a response. Depending on the service and its version, the same field may be a number, a
// string or null; the getters accept all of these.
type Object map[string]json.RawMessage

// Format hides the content, which could include secrets.
func (o Object) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "object of %d fields (hidden)", len(o))
}

// ParseObject parses a body that is one JSON object and nothing else.
func ParseObject(body []byte) (Object, bool) {
	var object Object
	if json.Unmarshal(body, &object) != nil || object == nil {
		return nil, false
	}
	return object, true
}

// Has reports whether a field is present and neither null nor an empty string.
func (o Object) Has(name string) bool {
	raw := string(o[name])
	return raw != "" && raw != "null" && raw != `""`
}

// Text returns a field that is a string or a number, and "" for anything else.
func (o Object) Text(name string) string {
	raw := o[name]
	if len(raw) == 0 {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

// Object returns a field that is an object, and nil for anything else.
func (o Object) Object(name string) Object {
	object, _ := ParseObject(o[name])
	return object
}

// Objects returns a field that is a list of objects, and false for anything else.
func (o Object) Objects(name string) ([]Object, bool) {
	var list []Object
	if json.Unmarshal(o[name], &list) != nil || list == nil {
		return nil, false
	}
	for _, object := range list {
		if object == nil {
			return nil, false
		}
	}
	return list, true
}
