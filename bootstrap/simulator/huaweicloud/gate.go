package huaweicloud

import (
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// MaxBody is the maximum size of a body that the gateway accepts.
const MaxBody = 12 << 20

// keyStrikes failures in a row lock an access key for keyLock: "AK access failed
// to reach the limit", https://support.huaweicloud.com/intl/en-us/ocr_faq/ocr_01_0063.html
const (
	keyStrikes = 5
	keyLock    = 5 * time.Minute
)

// Error returns an error in the format of the regional services and the gateway.
// Errors of the gateway itself carry a request id.
func Error(status int, code, message string) lab.Response {
	fields := map[string]any{"error_code": code, "error_msg": message}
	requestID := lab.RandomText(32, lab.Hex)
	if strings.HasPrefix(code, "APIGW.") {
		fields["request_id"] = requestID
	} else {
		fields["error_ext_msg"] = nil
	}
	response := JSON(status, fields)
	response.Header = http.Header{"X-Request-Id": {requestID}}
	return response
}

// JSON returns a JSON answer.
func JSON(status int, value any) lab.Response {
	body, err := json.Marshal(value)
	if err != nil { // cannot happen: callers pass only maps and structs of plain values
		panic(fmt.Sprintf("encoding an answer: %v", err))
	}
	return lab.Response{Status: status, Type: "application/json", Body: body}
}

// Refusal is an error of the gateway, with its code for the journal.
type Refusal struct {
	Response lab.Response
	Result   string
}

func refuse(status int, code, message string) *Refusal {
	return &Refusal{Response: Error(status, code, message), Result: strconv.Itoa(status) + " " + code}
}

func unauthorized(message string) *Refusal {
	return refuse(http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information: "+message)
}

// Admit checks whether a request may reach its service. It returns nil or the
// gateway's refusal. service is the service's system name, body is the body as
// received, projectID the project in the path.
func (c *Cloud) Admit(service string, r *http.Request, body []byte, projectID string) *Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(body) > MaxBody {
		return refuse(http.StatusRequestEntityTooLarge, "APIGW.0201", "Request entity too large")
	}
	caller, projects, refusal := c.authenticate(r, body)
	if refusal != nil {
		return refusal
	}
	if refusal := c.throttleService(service, caller); refusal != nil {
		return refusal
	}
	if refusal := c.throttle(); refusal != nil {
		return refusal
	}
	header := r.Header.Get("X-Project-Id")
	_, known := c.project(projectID)
	if !known || (len(projects) > 0 && !slices.Contains(projects, projectID)) || (header != "" && header != projectID) {
		if c.switches.projectMismatch == "401" {
			return unauthorized("the project does not match the credential")
		}
		return refuse(http.StatusForbidden, "APIGW.0302", "The IAM user is not authorized to access the API")
	}
	return nil
}

// authenticate returns whose credential it is, an access key or a user, and the projects that it may use; if empty, all.
// Assumed: if both kinds of credentials are present, the signature counts.
func (c *Cloud) authenticate(r *http.Request, body []byte) (caller string, projects []string, refusal *Refusal) {
	if header := r.Header.Get("Authorization"); header != "" {
		return c.bySignature(r, body, header)
	}
	if value := r.Header.Get("X-Auth-Token"); value != "" {
		return c.byToken(value)
	}
	return "", nil, unauthorized("x-auth-token not found")
}

func (c *Cloud) byToken(value string) (caller string, projects []string, refusal *Refusal) {
	t := c.tokens[value]
	switch {
	case t == nil:
		return "", nil, unauthorized("decrypt token fail")
	case !c.lab.Clock.Now().Before(t.expires):
		return "", nil, unauthorized("token expires, expires_at: " + t.expires.Format(timeLayout))
	case t.revoked:
		return "", nil, refuse(http.StatusUnauthorized, "APIGW.0307", "The token must be updated.")
	}
	return t.user.Name, []string{t.project}, nil
}

func (c *Cloud) bySignature(r *http.Request, body []byte, header string) (caller string, projects []string, refusal *Refusal) {
	auth, ok := parseAuthorization(header)
	if !ok {
		return "", nil, unauthorized("authorization format incorrect")
	}
	i := slices.IndexFunc(c.keys, func(k *key) bool { return k.AccessKey.AccessKey == auth.access })
	if i < 0 {
		return "", nil, unauthorized("Get secretKey failed,ak:" + auth.access + ",err:ak not exist")
	}
	k := c.keys[i]
	now := c.lab.Clock.Now()
	if k.lockedUntil.After(now) {
		k.refused++
		return "", nil, unauthorized("AK access failed to reach the limit,forbidden")
	}
	if message := k.verify(r, body, auth, now); message != "" {
		k.failed++
		k.refused++
		if k.failed >= keyStrikes {
			k.failed = 0
			k.locks++
			k.lockedUntil = now.Add(keyLock)
		}
		return "", nil, unauthorized(message)
	}
	k.failed = 0
	return auth.access, k.Projects, nil
}

// verify returns what is wrong with a signed request, or "".
func (k *key) verify(r *http.Request, body []byte, auth authorization, now time.Time) string {
	dates := r.Header.Values(dateHeader)
	if len(dates) != 1 || !slices.Contains(auth.signed, "x-sdk-date") {
		return "X-Sdk-Date must be sent and signed"
	}
	date, err := time.Parse(dateLayout, dates[0])
	if err != nil {
		return "X-Sdk-Date format incorrect"
	}
	if d := now.Sub(date); d > window || d < -window {
		return fmt.Sprintf("signature expired, signature time:%s,server time:%s", dates[0], now.Format(dateLayout))
	}
	switch sent := r.Header.Get(hashHeader); {
	case sent == unsignedBody && strings.Contains(r.Header.Get("Content-Type"), "json"):
		// The SDK leaves only bodies of other types unsigned. Assumed: JSON must be signed.
		return "the body must be signed"
	case sent != "" && !slices.Contains(auth.signed, strings.ToLower(hashHeader)):
		return hashHeader + " must be signed"
	case sent != "" && sent != unsignedBody && sent != hexSHA256(body):
		return "content sha256 mismatch"
	}
	canonical, ok := canonicalRequest(r, body, auth.signed)
	if !ok || !hmac.Equal([]byte(sign(k.SecretKey, dates[0], canonical)), []byte(auth.signature)) {
		return "verify aksk signature fail"
	}
	return k.verifyToken(r, auth, now)
}

// verifyToken checks the security token of a temporary key, which must be signed
// too.
func (k *key) verifyToken(r *http.Request, auth authorization, now time.Time) string {
	const name = "X-Security-Token"
	sent := r.Header.Get(name)
	switch {
	case k.Inactive:
		return "ak is inactive"
	case k.SecurityToken == "" && sent != "":
		return "the security token does not belong to the ak"
	case k.SecurityToken == "":
		return ""
	case sent == "" || !slices.Contains(auth.signed, strings.ToLower(name)):
		return "X-Security-Token must be sent and signed"
	case !hmac.Equal([]byte(sent), []byte(k.SecurityToken)):
		return "decrypt token fail"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return "token expires, expires_at: " + k.ExpiresAt.UTC().Format(timeLayout)
	}
	return ""
}

// throttle counts the requests in the current second and refuses those over the
// limit.
func (c *Cloud) throttle() *Refusal {
	if c.switches.throttle == 0 {
		return nil
	}
	if second := c.lab.Clock.Now().Unix(); second != c.second {
		c.second, c.requests = second, 0
	}
	c.requests++
	if c.requests <= c.switches.throttle {
		return nil
	}
	return c.tooMany(c.switches.throttle)
}

// throttleService refuses requests to a service in its window, or in that of the caller there.
func (c *Cloud) throttleService(service, caller string) *Refusal {
	now := c.lab.Clock.Now()
	if !c.windows[service].After(now) && !c.windows[service+"/"+caller].After(now) {
		return nil
	}
	c.throttled[service]++
	return c.tooMany(10)
}

// tooMany returns the gateway's answer to a request over the limit.
func (c *Cloud) tooMany(limit int) *Refusal {
	switch c.switches.throttleVariant {
	case "empty":
		return &Refusal{Response: lab.Response{Status: http.StatusTooManyRequests}, Result: "429"}
	case "html":
		return &Refusal{Result: "429", Response: lab.Response{Status: http.StatusTooManyRequests, Type: "text/html",
			Body: []byte("<html><body><h1>429 Too Many Requests</h1></body></html>\n")}}
	}
	return &Refusal{Response: Throttled(limit), Result: "429 APIGW.0308"}
}

// Throttled returns the gateway's answer to a request over the limit.
func Throttled(limit int) lab.Response {
	return Error(http.StatusTooManyRequests, "APIGW.0308",
		fmt.Sprintf("The throttling threshold has been reached: policy user over ratelimit,limit:%d,time:1 second", limit))
}

// Word returns the gateway's own answers for faults.
func Word(f lab.Fault) (lab.Response, string, bool) {
	switch f.Kind {
	case lab.Throttle:
		return Throttled(10), "429 APIGW.0308", true
	case lab.Deny:
		refusal := unauthorized("verify aksk signature fail")
		if f.Variant == "forbidden" {
			refusal = refuse(http.StatusForbidden, "APIGW.0302", "The IAM user is not authorized to access the API")
		}
		return refusal.Response, refusal.Result, true
	default:
		return lab.Response{}, "", false
	}
}
