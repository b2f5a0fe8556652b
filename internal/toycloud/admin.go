package toycloud

import (
	"errors"
	"net/http"
	"strconv"
)

// handleAdmin adds what an operator of the cloud may do, with the admin token:
//
//	GET, PUT    /admin/behaviour      how the cloud behaves
//	GET, PUT    /admin/snapshot       everything that exists
//	GET, DELETE /admin/counters       what the API did; DELETE sets it to zero
//	GET         /admin/events?after=  what happened
//	POST        /admin/KIND           create an object behind Terraform's back
//	PATCH       /admin/KIND/REF       change some of its attributes (RFC 7396: null removes a label or tag)
//	DELETE      /admin/KIND/REF       delete it and all that belongs to it
//
// REF is an id, or a name that no other object of the kind has. No latency, fault or limit applies here.
func (s *Server) handleAdmin(mux *http.ServeMux) {
	handle := func(pattern string, do func(w http.ResponseWriter, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" || !same(r.Header.Get("Authorization"), "Bearer "+s.AdminToken) {
				answerWith(w, nil, &refusal{http.StatusUnauthorized, "unauthorized", "the admin token is missing or wrong", ""})
				return
			}
			value, err := do(w, r)
			if err != nil {
				answerWith(w, nil, asRefusal(err))
				return
			}
			answerWith(w, value, nil)
		})
	}
	ok := struct{}{}

	handle("GET /admin/behaviour", func(http.ResponseWriter, *http.Request) (any, error) { return s.Behaviour(), nil })
	handle("PUT /admin/behaviour", func(w http.ResponseWriter, r *http.Request) (any, error) {
		var b Behaviour
		if wrong := decodeBody(w, r, &b); wrong != nil {
			return nil, wrong
		}
		return ok, s.SetBehaviour(b)
	})
	handle("GET /admin/snapshot", func(http.ResponseWriter, *http.Request) (any, error) { return s.Snapshot(), nil })
	handle("PUT /admin/snapshot", func(w http.ResponseWriter, r *http.Request) (any, error) {
		var snap Snapshot
		if wrong := decodeBody(w, r, &snap); wrong != nil {
			return nil, wrong
		}
		return ok, s.Restore(snap)
	})
	handle("GET /admin/counters", func(http.ResponseWriter, *http.Request) (any, error) { return s.Counters(), nil })
	handle("DELETE /admin/counters", func(http.ResponseWriter, *http.Request) (any, error) { s.ResetCounters(); return ok, nil })
	handle("GET /admin/events", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		after, err := strconv.Atoi(orElse(r.URL.Query().Get("after"), "0"))
		if err != nil {
			return nil, errors.New("after: write the number of an event")
		}
		return s.Events(after), nil
	})
	handle("POST /admin/{kind}", func(w http.ResponseWriter, r *http.Request) (any, error) {
		o := newObject(Kind(r.PathValue("kind")))
		if o == nil {
			return nil, notFound("kind", r.PathValue("kind"))
		}
		if wrong := decodeBody(w, r, o); wrong != nil {
			return nil, wrong
		}
		id, err := s.Add(o)
		return map[string]string{"id": id}, err
	})
	handle("PATCH /admin/{kind}/{ref}", func(w http.ResponseWriter, r *http.Request) (any, error) {
		// Go's decoder merges as RFC 7396 says, but for null in a map of strings, which it makes "".
		var nulls map[string]any
		body, wrong := readBody(w, r)
		if wrong != nil {
			return nil, wrong
		}
		err := s.cloud.outsideEdit(Kind(r.PathValue("kind")), r.PathValue("ref"), func(o Object) error {
			if err := errors.Join(unmarshalStrict(body, &nulls), unmarshalStrict(body, o)); err != nil {
				return err
			}
			removeNulls(o, nulls)
			return nil
		})
		return ok, err
	})
	handle("DELETE /admin/{kind}/{ref}", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return ok, s.Delete(Kind(r.PathValue("kind")), r.PathValue("ref"))
	})
}

// removeNulls takes the labels or tags out of o that a patch sets to null.
func removeNulls(o Object, patch map[string]any) {
	drop := func(key string, from map[string]string) {
		names, _ := patch[key].(map[string]any)
		for name, value := range names {
			if value == nil {
				delete(from, name)
			}
		}
	}
	switch o := o.(type) {
	case *Node:
		drop("labels", o.Labels)
	case *Bucket:
		drop("tags", o.Tags)
	}
}

// asRefusal gives an error the status that it carries, else that of a bad request.
func asRefusal(err error) *refusal {
	wrong := refusal{status: http.StatusBadRequest, Code: "bad_request"}
	var inner *refusal
	if errors.As(err, &inner) {
		wrong = *inner
	}
	wrong.Reason, wrong.Field = err.Error(), ""
	return &wrong
}
