package planstore

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Fingerprint returns a name in hex for what a plan would do: two plans have the same fingerprint if applying one does
// what applying the other does, whenever, wherever and by whichever Terraform version they were made.
//
// It covers every resource change but no-ops and reads (address, module, mode, type, provider, deposed key, previous
// address, actions, values before and after, what is unknown and what is sensitive, replace paths, import), every
// output change, deferred changes and actions; in any order, and with numbers by their value, not their spelling. It
// leaves out timestamps, versions, prior state, drift and configuration.
//
// It is a keyed hash (HMAC-SHA256), so it may be shown where the plan may not: without the store's key nobody can test a
// guess of a secret value against it. Stores with different keys give different fingerprints. Decode the plan with
// UseJSONNumber(true), on both sides of a comparison: otherwise whole numbers above 2^53 that differ may look equal.
func (s *Store) Fingerprint(plan *tfjson.Plan) (string, error) {
	if plan == nil {
		return "", errors.New("fingerprint: there is no plan")
	}
	f := newFingerprinter(s.keys.print)
	for _, rc := range plan.ResourceChanges {
		if rc == nil || rc.Change == nil {
			continue
		}
		idle := rc.Change.Actions.NoOp() && rc.Change.Importing == nil && !moved(rc)
		if idle || rc.Change.Actions.Read() {
			continue
		}
		f.add("resource", func(w *canonical) { w.resource(rc) })
	}
	for _, d := range plan.DeferredChanges {
		if d == nil || d.ResourceChange == nil || d.ResourceChange.Change == nil {
			continue
		}
		f.add("deferred", func(w *canonical) {
			w.field("reason", d.Reason)
			w.resource(d.ResourceChange)
		})
	}
	for name, change := range plan.OutputChanges {
		if change == nil || change.Actions.NoOp() {
			continue
		}
		f.add("output", func(w *canonical) {
			w.field("name", name)
			w.change(change)
		})
	}
	for _, a := range plan.ActionInvocations {
		if a == nil {
			continue
		}
		f.add("action", func(w *canonical) {
			w.field("address", a.Address)
			w.field("type", a.Type)
			w.field("provider", a.ProviderName)
			w.field("config", a.ConfigValues)
			w.field("config_unknown", marks(a.ConfigUnknown))
			w.field("config_sensitive", marks(a.ConfigSensitive))
			if t := a.LifecycleActionTrigger; t != nil {
				w.field("trigger", []any{t.TriggeringResourceAddress, t.ActionTriggerEvent, float64(t.ActionTriggerBlockIndex), float64(t.ActionsListIndex)})
			}
		})
	}
	return f.sum()
}

// fingerprinter hashes each thing by itself and then the sorted hashes, so that order does not matter.
type fingerprinter struct {
	writer canonical
	sums   [][sha256.Size]byte
}

func newFingerprinter(key []byte) *fingerprinter {
	return &fingerprinter{writer: canonical{hash: hmac.New(sha256.New, key)}}
}

func (f *fingerprinter) add(sort string, write func(*canonical)) {
	w := &f.writer
	w.hash.Reset()
	w.field("sort", sort)
	write(w)
	w.flush()
	var sum [sha256.Size]byte
	w.hash.Sum(sum[:0])
	f.sums = append(f.sums, sum)
}

func (f *fingerprinter) sum() (string, error) {
	if f.writer.err != nil {
		return "", fmt.Errorf("fingerprint: %w", f.writer.err)
	}
	slices.SortFunc(f.sums, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	mac := f.writer.hash
	mac.Reset()
	for _, sum := range f.sums {
		mac.Write(sum[:]) // a hash never fails, and all sums have one length
	}
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// canonical writes values into a hash in one agreed form, which is JSON with its keys sorted, nothing between tokens,
// numbers by value and strings by length.
type canonical struct {
	hash   hash.Hash // nil to keep everything in the buffer
	buffer bytes.Buffer
	err    error
}

func (w *canonical) resource(rc *tfjson.ResourceChange) {
	w.field("address", rc.Address)
	w.field("module", rc.ModuleAddress)
	w.field("mode", string(rc.Mode))
	w.field("type", rc.Type)
	// The source of a provider decides what an apply does; its version is left to the receipt.
	w.field("provider", rc.ProviderName)
	w.field("deposed", rc.DeposedKey)
	if moved(rc) {
		w.field("previous", rc.PreviousAddress)
	}
	w.change(rc.Change)
}

func (w *canonical) change(c *tfjson.Change) {
	actions := make([]any, len(c.Actions))
	for i, a := range c.Actions {
		actions[i] = string(a)
	}
	w.field("actions", actions)
	w.field("before", c.Before)
	w.field("after", c.After)
	w.field("after_unknown", marks(c.AfterUnknown))
	w.field("before_sensitive", marks(c.BeforeSensitive))
	w.field("after_sensitive", marks(c.AfterSensitive))
	paths := make([]any, len(c.ReplacePaths))
	for i, path := range c.ReplacePaths {
		sub := &canonical{}
		sub.value(path)
		if sub.err != nil {
			w.err = sub.err
		}
		paths[i] = sub.buffer.String()
	}
	slices.SortFunc(paths, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	w.field("replace_paths", paths)
	if i := c.Importing; i != nil {
		w.field("importing", map[string]any{"id": i.ID, "unknown": i.Unknown, "identity": i.Identity})
	}
}

// field writes a name and a value. The form of a value shows where it ends, so no two lists of fields look the same.
func (w *canonical) field(name string, v any) {
	w.text(name)
	w.buffer.WriteByte(':')
	w.value(v)
	w.buffer.WriteByte('\n')
}

func (w *canonical) value(v any) {
	switch v := v.(type) {
	case nil:
		w.buffer.WriteString("null")
	case bool:
		w.buffer.WriteString(strconv.FormatBool(v))
	case string:
		w.text(v)
	case json.Number:
		w.buffer.WriteString(number(string(v)))
	case float64:
		w.buffer.WriteString(number(strconv.FormatFloat(v, 'g', -1, 64)))
	case int:
		w.buffer.WriteString(number(strconv.Itoa(v)))
	case []any:
		w.buffer.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				w.buffer.WriteByte(',')
			}
			w.value(item)
		}
		w.buffer.WriteByte(']')
	case map[string]any:
		w.buffer.WriteByte('{')
		for i, name := range sortedKeys(v) {
			if i > 0 {
				w.buffer.WriteByte(',')
			}
			w.text(name)
			w.buffer.WriteByte(':')
			w.value(v[name])
		}
		w.buffer.WriteByte('}')
	default:
		w.err = fmt.Errorf("a value of type %T is not one that JSON decodes to", v)
	}
	if w.hash != nil && w.buffer.Len() > 32<<10 {
		w.flush()
	}
}

// text writes a string after its length, which leaves nothing in it to be escaped.
func (w *canonical) text(s string) {
	w.buffer.WriteByte('"')
	w.buffer.Write(strconv.AppendInt(w.buffer.AvailableBuffer(), int64(len(s)), 10))
	w.buffer.WriteByte('"')
	w.buffer.WriteString(s)
}

func (w *canonical) flush() {
	w.hash.Write(w.buffer.Bytes()) // a hash never fails
	w.buffer.Reset()
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// marks reduces a tree of booleans to what is true in it, because whether false and empty branches are written out has
// changed between Terraform versions. It returns nil if nothing is.
func marks(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return true
		}
	case map[string]any:
		var kept map[string]any
		for name, item := range v {
			if m := marks(item); m != nil {
				if kept == nil {
					kept = make(map[string]any)
				}
				kept[name] = m
			}
		}
		if kept != nil {
			return kept
		}
	case []any:
		last := -1
		kept := make([]any, len(v))
		for i, item := range v {
			if kept[i] = marks(item); kept[i] != nil {
				last = i
			}
		}
		if last >= 0 {
			return kept[:last+1]
		}
	}
	return nil
}

// number writes a decimal number by its value: digits without zeros at either end, and an exponent. It works on the text,
// because 1e999999999 is a valid JSON number that no arithmetic should be made to hold.
func number(text string) string {
	sign, rest := "", text
	if strings.HasPrefix(rest, "-") {
		sign, rest = "-", rest[1:]
	}
	mantissa, power, hasPower := strings.Cut(strings.ToLower(rest), "e")
	var exponent int64
	if hasPower {
		var err error
		if exponent, err = strconv.ParseInt(power, 10, 64); err != nil || exponent > 1<<60 || exponent < -1<<60 {
			return "!" + text
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	exponent -= int64(len(fraction))
	trimmed := strings.TrimRight(digits, "0")
	exponent += int64(len(digits) - len(trimmed))
	if trimmed == "" {
		return "0"
	}
	return sign + trimmed + "e" + strconv.FormatInt(exponent, 10)
}
