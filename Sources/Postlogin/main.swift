import UringRawlog

Postlogin.run()
