package huaweicloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

const (
	// unknownLifetime is how long a token is used whose answer does not say how long it is valid. Documented are 24
	// hours; the service refuses a dead token in any case, and then it is renewed.
	unknownLifetime = 10 * time.Minute

	// renewAgain is when IAM is asked again that gave no other token while the present one was good. Each of its answers may
	// hide that the password was refused.
	renewAgain = 10 * time.Minute

	// userLock is how long a user stays alone whom IAM has locked: documented are 15 to 30 minutes.
	userLock = 30 * time.Minute
)

// AuthError is a call that was not made, or was refused before it did anything, for want of a valid credential.
type AuthError struct {
	// Result has the outcome Denied, Busy or Unreachable.
	Result provider.Result
}

func (e *AuthError) Error() string { return e.Result.Reason }

// token is a token of IAM. The zero value is none.
type token struct {
	value transport.Secret
	// renew is when another is got, before expires.
	renew, expires time.Time
}

// tokens gets tokens of IAM by a user's password, and keeps the present one:
// https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html
//
// It is safe for concurrent use: one caller gets the token, the others wait for it, each with its own context.
type tokens struct {
	http     *http.Client
	endpoint string
	user     string
	domain   string
	project  string
	password transport.Secret
	now      func() time.Time
	refused  *pause

	mu      sync.Mutex
	current token
	flight  *flight
}

// flight is one request for a token that is under way. Its other fields are set when done is closed.
type flight struct {
	done  chan struct{}
	token token
	err   error
}

// get returns a token that is none of the remote system's refused ones: stale is the value of such a token, or "".
// The error is an *AuthError; what the token was for has not been sent then.
func (t *tokens) get(ctx context.Context, stale string) (token, error) {
	for {
		t.mu.Lock()
		if value := t.current.value.Reveal(); value != "" && value != stale && t.now().Before(t.current.renew) {
			present := t.current
			t.mu.Unlock()
			return present, nil
		}
		f := t.flight
		if f == nil {
			// Again, for those who came while another was refused.
			if err := t.refused.check(); err != nil {
				t.mu.Unlock()
				return token{}, err
			}
			f = &flight{done: make(chan struct{})}
			t.flight = f
			present := t.current
			t.mu.Unlock()
			t.lead(ctx, f, present, stale)
			return f.token, f.err
		}
		t.mu.Unlock()

		select {
		case <-ctx.Done():
			return token{}, unreachable("the attempt was given up while a token was got from IAM")
		case <-f.done:
		}
		switch {
		case f.err == nil && f.token.value.Reveal() != stale:
			return f.token, nil
		case f.err == nil, errors.Is(f.err, context.Canceled), errors.Is(f.err, context.DeadlineExceeded):
			// The other's time ran out, which says nothing about this one's: ask again.
			continue
		default:
			return token{}, asOnlooker(f.err)
		}
	}
}

// asOnlooker is the error for who waited for another one's request: the credential was shown once, not by each of them.
func asOnlooker(err error) error {
	var auth *AuthError
	if !errors.As(err, &auth) || !auth.Result.Unseen {
		return err
	}
	seen := *auth
	seen.Result.Unseen = false
	return &seen
}

// lead gets a token for all who wait for f.
func (t *tokens) lead(ctx context.Context, f *flight, present token, stale string) {
	got, err := t.fetch(ctx)
	var auth *AuthError
	switch {
	case errors.As(err, &auth) && auth.Result.Outcome == provider.Denied:
		t.refused.begin(auth.Result)
	case err != nil:
		// Before its end a token is still good while IAM is away.
		if value := present.value.Reveal(); value != "" && value != stale && t.now().Before(present.expires) {
			present.renew = t.now().Add(renewAgain)
			if present.renew.After(present.expires) {
				present.renew = present.expires
			}
			got, err = present, nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.token, f.err = got, err
	t.current = got
	t.flight = nil
	close(f.done)
}

// Types of the request.
type (
	tokenRequest struct {
		transport.Hidden
		Auth tokenAuth `json:"auth"`
	}
	tokenAuth struct {
		Identity tokenIdentity `json:"identity"`
		Scope    tokenScope    `json:"scope"`
	}
	tokenIdentity struct {
		Methods  []string      `json:"methods"`
		Password tokenPassword `json:"password"`
	}
	tokenPassword struct {
		User tokenUser `json:"user"`
	}
	tokenUser struct {
		transport.Hidden
		Name     string      `json:"name"`
		Password string      `json:"password"`
		Domain   tokenDomain `json:"domain"`
	}
	tokenDomain struct {
		Name string `json:"name"`
	}
	tokenScope struct {
		Project tokenProject `json:"project"`
	}
	tokenProject struct {
		ID string `json:"id"`
	}
)

// fetch asks IAM once. The error is an *AuthError, wrapped with the context's error if that ended the call.
func (t *tokens) fetch(ctx context.Context) (token, error) {
	body, err := encode(tokenRequest{Auth: tokenAuth{
		Identity: tokenIdentity{
			Methods: []string{"password"},
			Password: tokenPassword{User: tokenUser{
				Name: t.user, Password: t.password.Reveal(), Domain: tokenDomain{Name: t.domain},
			}},
		},
		Scope: tokenScope{Project: tokenProject{ID: t.project}},
	}})
	if err != nil {
		return token{}, unreachable("the request for a token could not be built")
	}
	// Any value of nocatalog keeps the list of all services out of the answer.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.endpoint+"/v3/auth/tokens?nocatalog=true", bytes.NewReader(body))
	if err != nil {
		return token{}, unreachable("the request for a token could not be built")
	}
	req.Header.Set("Content-Type", "application/json;charset=utf8")

	asked := t.now()
	response, err := transport.Do(ctx, t.http, req, 0)
	if err != nil {
		return token{}, noToken(err)
	}
	return t.read(response, asked)
}

// read reads the answer to a request that was made at that time.
func (t *tokens) read(response *transport.Response, asked time.Time) (token, error) {
	if response.Status != http.StatusCreated {
		return token{}, t.refusal(response)
	}
	value := response.Header.Get("X-Subject-Token")
	if value == "" {
		return token{}, unreachable("IAM's answer has no token; see iam_url")
	}
	life := lifetime(response.Body, asked)
	// A tenth of its life before the end, at least five minutes; of a short life, half.
	margin := min(max(life/10, 5*time.Minute), life/2)
	return token{
		value:   transport.NewSecret(value),
		renew:   asked.Add(life - margin),
		expires: asked.Add(life),
	}, nil
}

// lifetime is how long the token is valid, by IAM's own clock where the answer has both times.
func lifetime(body []byte, now time.Time) time.Duration {
	object, _ := ParseObject(body)
	details := object.Object("token")
	expires, err := time.Parse(time.RFC3339Nano, details.Text("expires_at"))
	if err != nil {
		return unknownLifetime
	}
	life := expires.Sub(now)
	if issued, err := time.Parse(time.RFC3339Nano, details.Text("issued_at")); err == nil {
		life = expires.Sub(issued)
	}
	return max(life, 0)
}

// refusal is what an answer of IAM without a token means. Whatever it is, the call that needed the token was not made.
func (t *tokens) refusal(response *transport.Response) error {
	envelope := ParseEnvelope(response)
	result := provider.Result{
		Outcome:   provider.Unreachable,
		Scope:     provider.ScopeConnection,
		Code:      codeOr(envelope, response.Status),
		RequestID: envelope.RequestID,
		Unseen:    true,
		Reason:    "IAM gave no token; see iam_url, project_id and whether IAM is in order; nothing was sent to the service",
	}
	switch response.Status {
	case http.StatusTooManyRequests:
		result.Unseen = false
		throttled := transport.Throttled(response, t.now())
		result.Outcome, result.RetryAfter = throttled.Outcome, throttled.RetryAfter
		result.Reason = "IAM takes no more requests for now; it will be asked again later"
	case http.StatusUnauthorized, http.StatusForbidden:
		result.Outcome, result.Unseen = provider.Denied, false
		result.Reason = "IAM refused the connection's user; see username, password, domain_name and project_id (accounts of HUAWEI IDs, federated users and users with MFA at login get no token)"
		// Too many wrong passwords. Where IAM says so without this code, only in words, it is Denied.
		if envelope.Code == "IAM.0061" {
			result.Outcome, result.RetryAfter = provider.Busy, userLock
			result.Reason = "IAM has locked the connection's user after too many failed logins; find out who makes them, or wait"
		}
	}
	return &AuthError{Result: result}
}

// noToken is a request to IAM without an answer. It is Unreachable whether or not it was sent: getting a token changes
// nothing.
func noToken(err error) error {
	out := unreachable("IAM gave no answer that can be read; see iam_url and the network")
	var unsent *transport.NotSentError
	if errors.As(err, &unsent) {
		out.Result.Reason = "IAM could not be reached: " + unsent.Reason
	} else {
		out.Result.Unseen = true
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &endedError{AuthError: out, cause: context.Canceled}
	case errors.Is(err, context.DeadlineExceeded):
		return &endedError{AuthError: out, cause: context.DeadlineExceeded}
	default:
		return out
	}
}

// endedError is an AuthError because the caller's context ended.
type endedError struct {
	*AuthError
	cause error
}

func (e *endedError) Unwrap() []error { return []error{e.AuthError, e.cause} }

func unreachable(reason string) *AuthError {
	return &AuthError{Result: provider.Result{
		Outcome: provider.Unreachable,
		Scope:   provider.ScopeConnection,
		Reason:  reason,
	}}
}

// encode writes JSON as it is signed and sent: without Go's escapes for HTML, and without a line feed at its end.
func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, errors.New("the request cannot be written as JSON")
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}
