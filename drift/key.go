package drift

import (
	"slices"
	"strings"
)

// A key is "ADDRESS ACTION PATH,PATH…", readable because people meet it in reports. Addresses and paths hold blanks and
// commas only inside quotes, so that it can be taken apart again.

// keyOf is the key of a finding. What the provider computes is left out of it: which values those are can change with
// every version of the provider.
func keyOf(f Finding) string {
	parts := []string{f.Address}
	if f.Deposed != "" {
		parts = append(parts, "deposed:"+f.Deposed)
	}
	parts = append(parts, f.Action())
	var paths []string
	for _, a := range f.Attributes {
		if !a.Consequence {
			paths = append(paths, a.Path)
		}
	}
	if len(paths) > 0 {
		slices.Sort(paths)
		parts = append(parts, strings.Join(paths, ","))
	}
	return strings.Join(parts, " ")
}

// parseKey takes the address and the paths out of a key.
func parseKey(key string) (address string, paths []string) {
	parts := splitUnquoted(key, ' ')
	if len(parts) < 3 {
		return parts[0], nil
	}
	return parts[0], splitUnquoted(parts[len(parts)-1], ',')
}

// splitUnquoted cuts a text at a separator that is not inside quotes.
func splitUnquoted(s string, separator byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
