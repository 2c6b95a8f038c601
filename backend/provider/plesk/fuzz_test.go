package plesk

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// packetSeeds returns documented Plesk responses, and broken variants.
func packetSeeds() []string {
	out := []string{
		okAlias, aliasResponse(`<result><status>ok</status></result>`), aliasResponse(`<result><status>error</status><errcode>1023</errcode><errtext>Operation failed.</errtext></result>`),
		packet(`<server><get><result><status>ok</status><gen_info><server_name>panel.example.com</server_name><server_guid>f4f2b8ad-7b6c-4f5a-8f3e-0b7f1d7c2a11</server_guid></gen_info></result></get></server>`),
		packet(`<server><get><result><status>ok</status></result></get></server>`),
		packet(`<server><get_protos><result><status>ok</status><protos><proto>1.6.9.1</proto></protos></result></get_protos></server>`),
		packet(`<system><status>ok</status></system>`), packet(`<server/><output>debug</output>`), packet(``), `<packet version="1.6.9.1"/>`,
		aliasResponse(`<result><status>ok</status></result><result><status>error</status><errcode>1013</errcode></result>`),
		`<!DOCTYPE packet [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><packet><system><status>&b;</status></system></packet>`,
		`<?xml version="1.0" encoding="ISO-8859-1"?>` + okAlias, strings.Repeat("<a>", 50), packet(strings.Repeat("<a/>", 200)),
		``, `<html><body>ok</body></html>`, `{"status":"ok"}`, okAlias[:len(okAlias)/2],
	}
	for _, table := range []map[string]meaning{inSystem, inResult} {
		for code := range table {
			out = append(out, packet(`<system><status>error</status><errcode>`+code+`</errcode><errtext/></system>`),
				aliasResponse(`<result><status>error</status><errcode>`+code+`</errcode><errtext>x</errtext></result>`))
		}
	}
	slices.Sort(out)
	return out
}

func aliasResponse(inner string) string {
	return packet(`<server><set-admin-alias>` + inner + `</set-admin-alias></server>`)
}

// said is a packet decoded into structs by encoding/xml, independently of the client's parser.
type said struct {
	XMLName xml.Name
	System  []verdict `xml:"system"`
	Server  []struct {
		SetAlias []struct {
			Result []verdict `xml:"result"`
		} `xml:"set-admin-alias"`
		Get []struct {
			Result []verdict `xml:"result"`
		} `xml:"get"`
	} `xml:"server"`
}

type verdict struct {
	Status  []string   `xml:"status"`
	Code    []string   `xml:"errcode"`
	GenInfo []struct{} `xml:"gen_info"`
}

func (v verdict) is(status string, codes int) bool {
	return len(v.Status) == 1 && strings.TrimSpace(v.Status[0]) == status && len(v.Code) == codes
}

// No response causes a panic. A response counts as a success only if it has the single result that says so, and as a
// refusal only if it has an error code that is documented as one.
func FuzzResponse(f *testing.F) {
	for _, seed := range packetSeeds() {
		f.Add(200, "", []byte(seed))
	}
	for _, status := range []int{201, 204, 302, 401, 403, 404, 429, 500, 502, 503} {
		f.Add(status, "120", []byte(okAlias))
	}
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		response := &transport.Response{Status: status, Header: http.Header{"Retry-After": {after}}, Body: body}
		var change, check provider.Result
		providertest.Bounded(t, len(body), func() { change, check = changeOutcome(response), checkOutcome(response) })

		var p said
		err := xml.Unmarshal(body, &p)
		whole := status == http.StatusOK && err == nil && p.XMLName.Local == "packet"
		var results, gets []verdict
		for _, server := range p.Server {
			for _, operation := range server.SetAlias {
				results = append(results, operation.Result...)
			}
			for _, operation := range server.Get {
				gets = append(gets, operation.Result...)
			}
		}
		if change.Outcome == provider.Applied && (!whole || len(p.System) != 0 || len(results) != 1 || !results[0].is("ok", 0)) {
			t.Fatalf("a change is taken for a success: %d %q", status, body)
		}
		if check.Outcome == provider.Applied && (!whole || len(p.System) != 0 || len(gets) != 1 || !gets[0].is("ok", 0) || len(gets[0].GenInfo) != 1) {
			t.Fatalf("a check is taken for a success: %d %q", status, body)
		}
		for _, out := range []provider.Result{change, check} {
			refuses := out.Outcome == provider.Rejected || out.Outcome == provider.Denied || out.Outcome == provider.Busy
			says := func(v verdict) bool { return v.is("error", 1) && strings.TrimSpace(v.Code[0]) == out.Code }
			if refuses && status != http.StatusTooManyRequests &&
				(!whole || !slices.ContainsFunc(slices.Concat(p.System, results, gets), says) || !documented(out.Code)) {
				t.Fatalf("taken for a refusal: %v of %d %q", out, status, body)
			}
			if !refuses && out.Outcome != provider.Applied && out.Outcome != provider.Unknown {
				t.Fatalf("unproven outcome: %v of %d %q", out, status, body)
			}
			if out.Reason == "" || out.RetryAfter < 0 || out.RetryAfter > time.Hour || len(out.Code) > 40 || out.Stage != "" || out.Exclusive {
				t.Fatalf("out of bounds: %v of %d %q", out, status, body)
			}
		}
	})
}

// documented reports whether a code proves a refusal according to the list of error codes; codes of a failed operation do
// not.
func documented(code string) bool {
	return slices.Contains(strings.Fields("1001 1002 1003 1004 1005 1006 1007 1008 1009 1010 1011 1012 1013 1014 1017 1019 1026 1029 1030 1031 1038 11003"), code)
}
