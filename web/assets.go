package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"slices"
	"time"
)

var (
	//go:embed assets/style.css
	style []byte
	//go:embed assets/script.js
	keysScript []byte
	//go:embed assets/output.js
	outputScript []byte
	// script is one file for the browser: each of its parts stands in a scope of its own.
	script = slices.Concat(keysScript, []byte("\n"), outputScript)
	//go:embed assets/icon.svg
	icon []byte
)

// asset serves a file that pages load. A browser keeps it and asks whether it is still the same.
func asset(kind string, content []byte) http.HandlerFunc {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "private, no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(content))
	}
}
