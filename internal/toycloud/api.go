package toycloud

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// largestBody is how many bytes of a request are read.
const largestBody = 1 << 20

// handler serves
//
//	GET    /v1/KIND?name=&cluster=   search
//	POST   /v1/KIND                  create; the header Idempotency-Key makes asking again harmless
//	GET    /v1/KIND/ID               read
//	PUT    /v1/KIND/ID               update: all attributes
//	DELETE /v1/KIND/ID               delete
//
// and the paths of admin.go.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, verb := range map[string]Verb{
		"GET /v1/{kind}":         List,
		"POST /v1/{kind}":        Create,
		"GET /v1/{kind}/{id}":    Read,
		"PUT /v1/{kind}/{id}":    Update,
		"DELETE /v1/{kind}/{id}": Delete,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.api(w, r, verb) })
	}
	s.handleAdmin(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, nil, &refusal{http.StatusNotFound, "no_such_path", "there is nothing at " + r.URL.Path + ": begin with /v1/clusters", ""})
	})
	return mux
}

// call is one request of a customer.
type call struct {
	verb    Verb
	kind    Kind
	id      string
	name    string // search
	cluster string // search
	key     string // creation
	body    Object // creation and update
}

func (s *Server) api(w http.ResponseWriter, r *http.Request, verb Verb) {
	if wrong := s.allowed(r, verb); wrong != nil {
		answerWith(w, nil, wrong)
		return
	}
	q := r.URL.Query()
	c := call{
		verb: verb, kind: Kind(r.PathValue("kind")), id: r.PathValue("id"),
		name: q.Get("name"), cluster: q.Get("cluster"), key: r.Header.Get("Idempotency-Key"),
	}
	if wrong := c.decode(w, r); wrong != nil {
		answerWith(w, nil, wrong)
		return
	}

	f := s.cloud.admit(c)
	if f.latency > 0 {
		// The caller's patience plays no part: what has arrived is carried out, whether or not anyone still listens.
		timer := time.NewTimer(f.latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closing.Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch f.fault {
	case FaultThrottle:
		answerWith(w, nil, throttled(w, f.retryAfter))
		return
	case FaultError:
		answerWith(w, nil, &refusal{http.StatusInternalServerError, "internal", "the toy cloud has a bad moment: try again", ""})
		return
	case FaultReveal:
		sent, _ := json.Marshal(c.body) // it was decoded from JSON
		answerWith(w, nil, &refusal{http.StatusBadRequest, "revealed", fmt.Sprintf("the bearer of %s sent %s", r.Header.Get("Authorization"), sent), ""})
		return
	case FaultDrop:
		panic(http.ErrAbortHandler)
	}
	value, wrong := s.cloud.carryOut(c)
	switch f.fault {
	case FaultLost:
		panic(http.ErrAbortHandler)
	case FaultHalf:
		answerHalf(w, value, wrong)
		panic(http.ErrAbortHandler)
	}
	answerWith(w, value, wrong)
}

// allowed says why a request's token does not let it in, or nil.
func (s *Server) allowed(r *http.Request, verb Verb) *refusal {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case same(token, s.Token):
		return nil
	case same(token, s.ReadToken):
		if verb == Read || verb == List {
			return nil
		}
		return &refusal{http.StatusForbidden, "forbidden", fmt.Sprintf("this token may only read, not %s", verb), ""}
	}
	return &refusal{http.StatusUnauthorized, "unauthorized", "the token is missing or wrong", ""}
}

// decode checks a call's path and reads its body.
func (c *call) decode(w http.ResponseWriter, r *http.Request) *refusal {
	o := newObject(c.kind)
	if o == nil {
		return &refusal{http.StatusNotFound, "no_such_path", fmt.Sprintf("there is no kind %q: use networks, clusters, nodes, buckets or images", c.kind), ""}
	}
	if c.verb == Read || c.verb == List {
		return nil
	}
	if c.kind == Images {
		return &refusal{http.StatusMethodNotAllowed, "not_allowed", "images are published by the cloud: they can only be read", ""}
	}
	if c.verb == Delete {
		return nil
	}
	if wrong := decodeBody(w, r, o); wrong != nil {
		return wrong
	}
	c.body = o
	return nil
}

// admit counts a request and decides its fate.
func (c *cloud) admit(r call) fate {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.Requests++
	var f fate
	if wait := c.temper.throttle(c.now()); wait > 0 {
		f = fate{fault: FaultThrottle, retryAfter: wait}
	} else {
		f = c.temper.fate(c, r.verb, r.kind, c.namesOf(r))
	}
	switch f.fault {
	case "":
		return f
	case FaultThrottle:
		c.ledger.Throttled++
	default:
		c.ledger.Faults++
	}
	e := Event{At: c.now().UTC(), Actor: "api", Verb: r.verb, Kind: r.kind, ID: r.id, Name: r.name, Fault: f.fault}
	if o, ok := c.objects[r.kind][r.id]; ok {
		e.Name = o.meta().Name
	} else if r.body != nil {
		e.Name = r.body.meta().Name
	}
	c.ledger.record(e)
	return f
}

// namesOf returns what the object of a request is called, by which rules know it.
func (c *cloud) namesOf(r call) []string {
	if o, ok := c.objects[r.kind][r.id]; ok {
		return []string{r.id, o.meta().Name}
	}
	if r.verb == Create {
		_, parent := r.body.parent()
		return []string{r.body.meta().Name, parent + "/" + r.body.meta().Name}
	}
	return []string{r.id, r.name}
}

// carryOut does what a request asks for.
func (c *cloud) carryOut(r call) (any, *refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scale()
	switch r.verb {
	case Create:
		return c.create(r.body, r.key)
	case Read:
		return c.read(r.kind, r.id)
	case List:
		return map[string]any{"items": c.list(r.kind, r.name, r.cluster)}, nil
	case Update:
		return c.update(r.kind, r.id, r.body)
	default:
		return struct{}{}, c.remove(r.kind, r.id)
	}
}

// throttled tells the caller when to come back. Retry-After counts in whole seconds (RFC 9110, section 10.2.3), so a
// second header says it exactly, as Azure's API does.
func throttled(w http.ResponseWriter, wait time.Duration) *refusal {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	w.Header().Set("Retry-After-Ms", strconv.FormatInt(int64(math.Ceil(float64(wait)/float64(time.Millisecond))), 10))
	return &refusal{http.StatusTooManyRequests, "throttled", "too many requests: slow down", ""}
}

// answerWith writes a value, or what is wrong instead of it.
func answerWith(w http.ResponseWriter, value any, wrong *refusal) {
	status, body := encode(value, wrong)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that is gone cannot be told so
}

// answerHalf writes the first half of an answer that claims to be whole.
func answerHalf(w http.ResponseWriter, value any, wrong *refusal) {
	status, body := encode(value, wrong)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
}

func encode(value any, wrong *refusal) (int, []byte) {
	status := http.StatusOK
	if wrong != nil {
		status, value = wrong.status, map[string]any{"error": wrong}
	}
	body, err := json.Marshal(value)
	if err != nil {
		return http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer cannot be written"}}`)
	}
	return status, append(body, '\n')
}

func decodeBody(w http.ResponseWriter, r *http.Request, into any) *refusal {
	data, wrong := readBody(w, r)
	if wrong != nil {
		return wrong
	}
	if err := unmarshalStrict(data, into); err != nil {
		return badRequest(err)
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
	if err != nil {
		return nil, badRequest(err)
	}
	return data, nil
}

func badRequest(err error) *refusal {
	return &refusal{http.StatusBadRequest, "bad_request", "read the request: " + err.Error(), ""}
}

// unmarshalStrict reads one JSON value and refuses keys that nobody knows: mostly they are misspelt.
func unmarshalStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more than one JSON value")
	}
	return nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
