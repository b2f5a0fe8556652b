nodes = {
  web-1 = { size = "small", pool = "web" }
  web-2 = { size = "small", pool = "web" }
  web-3 = { size = "small", pool = "web" }
  db-1  = { size = "large", pool = "db" }
}
