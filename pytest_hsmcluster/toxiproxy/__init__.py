"""How does a real Toxiproxy come between applications and HSM processes, and how does it go away again?"""
