package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// lookUp follows a dotted path, such as 0.drift.remaining or 1.reasons.len, into
// a JSON document; len is how many there are. Anything but a string comes back
// as JSON.
func lookUp(data []byte, path string) (string, error) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return "", fmt.Errorf("standard output is not JSON: %w", err)
	}
	for _, step := range strings.Split(path, ".") {
		switch node := v.(type) {
		case []any:
			if step == "len" {
				v = float64(len(node))
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node) {
				return "", fmt.Errorf("%s: there is no %q among %d", path, step, len(node))
			}
			v = node[i]
		case map[string]any:
			next, ok := node[step]
			if !ok {
				return "", fmt.Errorf("%s: there is no %q", path, step)
			}
			v = next
		default:
			return "", fmt.Errorf("%s: nothing below %q", path, step)
		}
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	out, err := json.Marshal(v)
	return string(out), err
}
