const check = (name, password) => name === 'alice' && password === 'right' ? 42 : null
@SNIPPET@
app.listen(Number(process.argv[2]), '127.0.0.1')
