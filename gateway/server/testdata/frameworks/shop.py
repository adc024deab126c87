import sys
from types import SimpleNamespace
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of this test alone")
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path

def authenticate(request, username, password):  # django.contrib.auth's, without a database
    return SimpleNamespace(pk=42) if (username, password) == ("alice", "right") else None

@SNIPPET@
urlpatterns = [path("login", login), path("", home)]

if __name__ == "__main__":
    from wsgiref.simple_server import make_server
    from django.core.wsgi import get_wsgi_application
    make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application()).serve_forever()
