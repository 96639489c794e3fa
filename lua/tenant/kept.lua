-- Stands inside of inside.lua where a script names one of these: what of the interpreter remembers what a script did to it, and what
-- leads past a script's own names to the real ones. Makes `own`, by name what the script has instead:
--   _G                    its own names, else what globals have
--   cjson                 settings are its own, and hold while it runs
--   load, loadstring      what they make has the script's own names too
--   getmetatable          of tables alone: a string's is every script's
--   collectgarbage, gcinfo  nothing: the memory is everybody's
--   getfenv, setfenv      none, as in later engines
local own = {redis = mine, server = server, KEYS = keys}
local concat, rawset, compile, metatable = table.concat, rawset, loadstring, getmetatable
local json = cjson
own.cjson = setmetatable({encode = json.encode, decode = json.decode, null = json.null}, {
__metatable = false,
__index = function(cjson, name)
if json then
for key, value in pairs(json.new()) do rawset(cjson, key, value) end
json = nil
end
return rawget(cjson, name)
end})
own.loadstring = function(text, name)
local whole, why = compile(text, name)
if not whole then return nil, why end
local outer, why = compile('local @NAMES@ = ... return function(...) ' .. text .. '\nend', name or text)
if not outer then return nil, why end
if setfenv then setfenv(outer, env) end
return outer(@VALUES@)
end
own.load = function(reader, name)
local parts = {}
local part = reader()
while part and part ~= '' do
parts[#parts + 1] = part
part = reader()
end
return own.loadstring(concat(parts), name or '=(load)')
end
own.getmetatable = function(value)
if type(value) == 'table' then return metatable(value) end
end
own.collectgarbage = function() return 0 end
own.gcinfo = own.collectgarbage
own._G = setmetatable({}, {__metatable = false, __index = function(_, name)
local found = own[name]
if found ~= nil or name == 'getfenv' or name == 'setfenv' then return found end
return env[name]
end, __newindex = function() error('Attempt to modify a readonly table', 2) end})
