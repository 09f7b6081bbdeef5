// Answers each request with what Go's net/http made of it. `echo PORT`.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
)

func main() {
	http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		io.Copy(hash, r.Body)
		body, _ := json.Marshal(map[string]string{
			"method": r.Method, "target": r.RequestURI, "host": r.Host, "body": hex.EncodeToString(hash.Sum(nil)),
		})
		w.Write(body)
	}))
}
